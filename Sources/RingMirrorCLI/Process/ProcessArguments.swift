import CProcess

/// The command line, byte for byte.
///
/// It comes from C: Swift's own `CommandLine` reads /proc, which may not be there, and makes
/// another byte sequence of what is not UTF-8.
enum ProcessArguments {
    /// What was typed after the name of the program. Bytes that are not UTF-8 are escaped by
    /// `ByteEscape`, because argument-parser works on strings.
    static let list: [String] = {
        (1..<max(1, ringmirror_argument_count())).compactMap { index in
            guard let text = unsafe ringmirror_argument(index) else { return nil }
            return unsafe ByteEscape.escape(UnsafeBufferPointer(start: text, count: length(text)))
        }
    }()

    /// Known before the command line is understood, and also if it never is.
    static let wantsJSON = list.prefix { $0 != "--" }.contains("--json")

    /// The same for `--quiet`.
    static let wantsQuiet = list.prefix { $0 != "--" }.contains { ["-q", "--quiet"].contains($0) }

    private static func length(_ text: UnsafePointer<CChar>) -> Int {
        var count = 0
        while unsafe text[count] != 0 { count += 1 }
        return count
    }
}
