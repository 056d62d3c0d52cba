import ArgumentParser
import RingMirror

/// A path on the command line. The one way from what was typed to a `FilePath`.
struct PathArgument: ExpressibleByArgument, Hashable {
    /// As argument-parser has it: bytes that are not UTF-8 are escaped.
    private let argument: String

    /// Nil if it is empty: a script's variable that is not set names nothing.
    init?(argument: String) {
        guard !argument.isEmpty else { return nil }
        self.argument = argument
    }

    /// `-`: standard input or output.
    static let standardStream = PathArgument("-")

    init(_ path: FilePath) {
        argument = unsafe path.withPlatformString { start in
            unsafe ByteEscape.escape(UnsafeBufferPointer(start: start, count: path.length))
        }
    }

    /// With the bytes that were typed. A path drops a slash at its end, which says that the name
    /// is a directory's: a dot after it says the same, and stays.
    var path: FilePath {
        let text = argument.hasSuffix("/") ? argument + "." : argument
        let bytes = ByteEscape.bytes(of: text).map { CChar(bitPattern: $0) } + [0]
        return unsafe bytes.withUnsafeBufferPointer {
            unsafe $0.baseAddress.map { unsafe FilePath(platformString: $0) } ?? FilePath()
        }
    }

    /// Nil if it is not UTF-8.
    var utf8: String? {
        argument.unicodeScalars.contains { ByteEscape.byte(of: $0) != nil } ? nil : argument
    }

    /// `-`, where that means standard input or output.
    var isStandardStream: Bool { argument == "-" }

    /// What to say of a name that other tools know and that is no file's; nil if it may be one.
    static func unsupportedName(_ name: String) -> (problem: String, remedy: String)? {
        if name == "-" {
            return (
                "standard input and output are not supported",
                "Name a disk or an image file (./- for a file of that name)."
            )
        }
        guard let colon = name.firstIndex(of: ":"), colon != name.startIndex else { return nil }
        let scheme = name[..<colon]
        // QEMU takes nbd:HOST:PORT and nbd:unix:SOCKET as well.
        guard name[colon...].hasPrefix(":/") || scheme == "nbd",
            scheme.allSatisfy({ $0.isASCII && ($0.isLetter || "+.".contains($0)) })
        else { return nil }
        // The path has lost slashes by now, so that it is not quoted.
        return (
            "\(scheme):… is a URL, and URLs are not supported",
            "Name a disk or an image file"
                + (scheme.hasPrefix("nbd")
                    ? "; nbd-client or nbdfuse makes one of an export." : ".")
        )
    }

    static var defaultCompletionKind: CompletionKind { .file() }
}

extension PathArgument: CustomStringConvertible {
    /// For messages, which show escaped bytes as `\xNN`.
    var description: String { argument }
}
