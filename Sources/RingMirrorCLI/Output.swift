import Glibc

/// Writes to standard output and standard error, each line in one call.
///
/// A reader that went away is not an error of ours (as with `ringmirror … | head`): what can't be
/// written is dropped, and the job goes on.
enum Output {
    static func line(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    static func errorLine(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Writes over the line that the cursor is on, and no further than the terminal is wide.
    static func overwriteErrorLine(_ text: String) {
        write("\r" + text.prefix(errorColumns - 1) + "\u{1B}[K", to: STDERR_FILENO)
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// The width of the terminal in columns.
    static var errorColumns: Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return 80
        }
        return Int(size.ws_col)
    }

    private static func write(_ text: String, to descriptor: CInt) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

extension Output {
    /// Makes sure that 0, 1 and 2 are open, so that no disk gets one of these numbers and then the
    /// messages that are meant for people.
    static func reserveStandardStreams() {
        for descriptor in 0...2 where fcntl(CInt(descriptor), F_GETFD) < 0 {
            // The lowest free number is this one.
            _ = unsafe open("/dev/null", O_RDWR)
        }
    }

    static var processID: CInt { getpid() }
}
