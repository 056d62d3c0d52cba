import ArgumentParser
import RingMirror

/// A path on the command line. The one way from what was typed to a `FilePath`.
struct PathArgument: ExpressibleByArgument, Hashable {
    /// As argument-parser has it: bytes that are not UTF-8 are escaped.
    private let argument: String

    init(argument: String) { self.argument = argument }

    /// With the bytes that were typed.
    var path: FilePath {
        let bytes = ByteEscape.bytes(of: argument).map { CChar(bitPattern: $0) } + [0]
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

    static var defaultCompletionKind: CompletionKind { .file() }
}

extension PathArgument: CustomStringConvertible {
    /// For messages, which show escaped bytes as `\xNN`.
    var description: String { argument }
}
