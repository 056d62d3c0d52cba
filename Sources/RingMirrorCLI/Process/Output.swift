import Glibc
import Synchronization

/// Writes to standard output and standard error, each line in one call.
///
/// A reader that went away never stops a job. What could not be written to standard output is
/// remembered, and the command then does not end with 0. What could not be written to standard
/// error has nowhere to be said.
enum Output {
    /// The first error of standard output; 0 for none.
    private static let firstError = Atomic<CInt>(0)

    /// One line, with everything in it made visible.
    static func line(_ text: String) { write(VisibleText.line(text) + "\n", to: STDOUT_FILENO) }

    static func errorLine(_ text: String) {
        // A line of progress makes room, and comes back by itself.
        let start = hasOpenLine.exchange(false, ordering: .relaxed) ? "\r" + erasing("") : ""
        write(start + VisibleText.line(text) + "\n", to: STDERR_FILENO)
    }

    /// Text of our own, of several lines, such as help.
    static func text(_ text: String) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            Self.line(String(line))
        }
    }

    /// Bytes that are no text for people.
    static func bytes(_ bytes: [UInt8]) { write(bytes[...], to: STDOUT_FILENO) }

    /// The cursor stands in a line of progress.
    private static let hasOpenLine = Atomic<Bool>(false)

    /// Writes over the line that the cursor is on, and no further than the terminal is wide.
    static func overwriteErrorLine(_ text: String) {
        let visible = VisibleText.line(text).prefix(errorColumns - 1)
        hasOpenLine.store(!visible.isEmpty, ordering: .relaxed)
        write("\r" + erasing(visible), to: STDERR_FILENO)
    }

    /// A text and what erases the rest of its line.
    private static func erasing(_ text: Substring) -> String {
        guard !isSmart else { return text + "\u{1B}[K" }
        return text + String(repeating: " ", count: max(0, errorColumns - 1 - text.count)) + "\r"
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// The terminal knows how to erase a line.
    private static let isSmart: Bool = {
        guard let name = unsafe getenv("TERM") else { return false }
        return unsafe String(cString: name) != "dumb"
    }()

    /// The width of the terminal in columns.
    static var errorColumns: Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return 80
        }
        return Int(size.ws_col)
    }

    /// An event has a value that JSON has no form for.
    private static let hasLostEvent = Atomic<Bool>(false)

    /// Remembers that an event could not be written as what it is.
    static func loseEvent() { hasLostEvent.store(true, ordering: .releasing) }

    /// Why output was lost; nil if all of it was taken.
    static var lost: String? {
        let code = firstError.load(ordering: .acquiring)
        if code != 0 {
            let cause = unsafe strerror(code).map { unsafe String(cString: $0) }
            return "standard output: \(cause ?? "error \(code)")"
        }
        return hasLostEvent.load(ordering: .acquiring) ? "an event has no form in JSON" : nil
    }

    private static func write(_ text: String, to descriptor: CInt) {
        write(Array(text.utf8)[...], to: descriptor)
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: CInt) {
        var bytes = bytes
        while !bytes.isEmpty {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            let code = errno
            if count < 0 && code == EINTR { continue }
            // Somebody has made the stream non-blocking, which is no reason to lose a line.
            if count < 0 && code == EAGAIN && waitUntilWritable(descriptor) { continue }
            guard count > 0 else {
                if descriptor == STDOUT_FILENO { remember(count < 0 ? code : EIO) }
                return
            }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Whether a stream takes bytes within so many milliseconds; -1 waits as long as it takes.
    static func waitUntilWritable(_ descriptor: CInt, milliseconds: CInt = -1) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while true {
            let count = unsafe poll(&entry, 1, milliseconds)
            if count < 0 && errno == EINTR { continue }
            return count > 0
        }
    }

    private static func remember(_ code: CInt) {
        _ = firstError.compareExchange(
            expected: 0, desired: code, ordering: .acquiringAndReleasing)
    }
}

extension Output {
    /// Makes sure that 0, 1 and 2 are open, so that no disk gets one of these numbers and then the
    /// messages that are meant for people.
    static func reserveStandardStreams() {
        for descriptor in 0...2 where fcntl(CInt(descriptor), F_GETFD) < 0 {
            // The lowest free number is this one. It can be neither read nor written, so that a
            // closed stream stays an error, and there need not be a /dev for it.
            _ = unsafe open("/", CInt(O_DIRECTORY | O_PATH))
        }
    }

    static var processID: CInt { getpid() }
}
