/// Cuts XML into tags and text.
///
/// Foundation's XML parser stops the program on names that aren't UTF-8, and brings document types
/// and entities, with all that they can be abused for. The formats here need none of it: this
/// scanner knows elements, attributes, text and comments, takes references as plain text, and
/// refuses the rest.
struct XMLScanner {
    enum Token {
        case start(name: String, attributes: [String: String], isEmpty: Bool)
        case end(name: String)
        case text(ArraySlice<UInt8>)
    }

    private static let nameEnds = Array("<>/='\"".utf8)

    private let bytes: [UInt8]
    private let source: ChangeMapInput
    private var position = 0

    /// The line of the next byte.
    private(set) var line = 1

    /// The line in which the last token starts.
    private(set) var tokenLine = 1

    init(_ bytes: [UInt8], _ source: ChangeMapInput) {
        self.bytes = bytes
        self.source = source
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    private static let attributesMax = 64

    static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }

    /// The next tag or text; nil at the end. Comments and processing instructions are passed over.
    mutating func next() throws(ChangeMapError) -> Token? {
        while position < bytes.count {
            tokenLine = line
            if bytes[position] != UInt8(ascii: "<") {
                return .text(take { $0 != UInt8(ascii: "<") })
            }
            if skip("<!--") {
                try skipPast("-->")
            } else if skip("<?") {
                try skipPast("?>")
            } else if skip("<!") {
                throw source.error(
                    .unsupported, at: .line(line),
                    "the XML has a document type or marked sections; no change map has",
                    remedy: "See where the file comes from.")
            } else if skip("</") {
                let name = try takeName()
                skipBlanks()
                guard skip(">") else { throw damaged("an end tag isn't closed") }
                return .end(name: name)
            } else {
                position += 1
                return try startTag()
            }
        }
        return nil
    }

    private mutating func startTag() throws(ChangeMapError) -> Token {
        let name = try takeName()
        var attributes: [String: String] = [:]
        while true {
            skipBlanks()
            if skip(">") { return .start(name: name, attributes: attributes, isEmpty: false) }
            if skip("/>") { return .start(name: name, attributes: attributes, isEmpty: true) }
            let key = try takeName()
            skipBlanks()
            guard skip("=") else {
                throw damaged("the attribute \(excerpt(key.utf8)) has no value")
            }
            skipBlanks()
            guard position < bytes.count, [0x22, 0x27].contains(bytes[position]) else {
                throw damaged("the value of \(excerpt(key.utf8)) isn't quoted")
            }
            let quote = bytes[position]
            position += 1
            let value = take { $0 != quote && $0 != UInt8(ascii: "<") }
            guard position < bytes.count, bytes[position] == quote else {
                throw damaged("the value of \(excerpt(key.utf8)) has no end")
            }
            position += 1
            let text = String(decoding: value, as: UTF8.self)
            guard attributes.updateValue(text, forKey: key) == nil else {
                throw damaged("the attribute \(excerpt(key.utf8)) is there twice")
            }
            // Each takes more memory than its bytes, and a tag may be as long as the file.
            guard attributes.count <= Self.attributesMax else {
                throw damaged("<\(excerpt(name.utf8))> has too many attributes")
            }
        }
    }

    private mutating func takeName() throws(ChangeMapError) -> String {
        let name = take { !Self.isBlank($0) && !Self.nameEnds.contains($0) }
        guard !name.isEmpty else { throw damaged("a name was expected") }
        return String(decoding: name, as: UTF8.self)
    }

    /// Takes bytes while they are as wanted, and counts their lines.
    private mutating func take(while isWanted: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        let start = position
        while position < bytes.count, isWanted(bytes[position]) {
            if bytes[position] == 0x0A { line += 1 }
            position += 1
        }
        return bytes[start..<position]
    }

    private mutating func skipBlanks() { _ = take(while: Self.isBlank) }

    /// Passes over `text` if it comes next; it has no line ends.
    private mutating func skip(_ text: String) -> Bool {
        guard bytes[position...].starts(with: text.utf8) else { return false }
        position += text.utf8.count
        return true
    }

    private mutating func skipPast(_ end: String) throws(ChangeMapError) {
        guard let last = end.utf8.last else { return }
        while position < bytes.count {
            _ = take { $0 != last }
            guard position < bytes.count else { break }
            position += 1
            if bytes[..<position].suffix(end.utf8.count).elementsEqual(end.utf8) { return }
        }
        throw damaged("a comment has no end")
    }

    private func damaged(_ problem: String) -> ChangeMapError {
        source.malformed(.line(line), problem)
    }
}
