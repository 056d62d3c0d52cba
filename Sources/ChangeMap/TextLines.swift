/// The lines of a text that hold something: comments and empty lines are passed over.
struct TextLines {
    /// One line, cut at blanks.
    struct Line {
        /// Counted from 1.
        let number: Int
        /// At least one, none empty.
        let fields: [ArraySlice<UInt8>]

        var place: ChangeMapError.Place { .line(number) }

        /// A field as text, for comparing and for messages; empty if there is no such field.
        func text(_ index: Int) -> String {
            index < fields.count ? String(decoding: fields[index], as: UTF8.self) : ""
        }
    }

    /// What is behind so many fields stays one field: a line may be as long as the file, and each
    /// field takes more memory than its bytes. Names of files are the longest that is expected.
    static let fieldsMax = 4200

    private let bytes: [UInt8]
    private let hasComments: Bool
    private var position = 0
    private var number = 0

    /// - Parameter hasComments: whether `#` starts a comment; names of files may have it.
    init(_ bytes: [UInt8], hasComments: Bool = true) {
        self.bytes = bytes
        self.hasComments = hasComments
    }

    /// Whether the last line is a whole one. A list that was cut off in the middle of a number
    /// looks fine otherwise.
    var endsWithNewline: Bool { bytes.last == UInt8(ascii: "\n") }

    /// The number of the line that was read last.
    var lastNumber: Int { number }

    /// The next line that has fields; nil at the end.
    mutating func next() -> Line? {
        while position < bytes.count {
            let rest = bytes[position...]
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            number += 1
            position = end + 1
            let line = rest[..<end]
            let content = hasComments ? line.prefix { $0 != UInt8(ascii: "#") } : line
            let fields = content.split(maxSplits: Self.fieldsMax - 1) { isBlank($0) }
            if !fields.isEmpty { return Line(number: number, fields: fields) }
        }
        return nil
    }
}

/// Blanks within a line; the carriage return of files that were edited elsewhere is one.
func isBlank(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
}
