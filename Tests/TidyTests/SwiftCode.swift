/// Swift source reduced to its code: comments, the text of strings and that of raw identifiers are
/// blanked, line breaks stay, and what is left is split into words and single symbols.
///
/// It knows nested comments, raw and multi-line strings, and code inside of strings. It doesn't
/// know regular expression literals, which this project does not use.
struct SwiftCode: Sendable {
    struct Token: Sendable, Equatable {
        let text: String
        /// Counted from 1.
        let line: Int
        /// Nothing stands between this token and the one before.
        let isGlued: Bool

        var isWord: Bool { text.first.map { $0.isLetter || $0 == "_" || $0.isNumber } ?? false }
    }

    struct Function: Sendable, Equatable {
        let name: String
        let line: Int
        let lineCount: Int
    }

    let tokens: [Token]
    /// The text with everything else blanked.
    let lines: [Substring]
    let functions: [Function]
    /// The modules that are imported, and where.
    let imports: [Token]

    init(_ text: String) {
        var blanker = Blanker(bytes: Array(text.utf8))
        let bytes = blanker.run()
        lines = String(decoding: bytes, as: UTF8.self).unicodeScalars
            .split(separator: "\n", omittingEmptySubsequences: false).map(Substring.init)
        let tokens = Self.tokens(bytes)
        self.tokens = tokens
        functions = Self.functions(tokens)
        imports = Self.imports(tokens)
    }

    private static func tokens(_ bytes: [UInt8]) -> [Token] {
        var tokens: [Token] = []
        var line = 1
        var index = 0
        var isGlued = false
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\n") { line += 1 }
            if byte <= 32 {
                isGlued = false
                index += 1
                continue
            }
            var end = index + 1
            if isWordByte(byte) { while end < bytes.count, isWordByte(bytes[end]) { end += 1 } }
            let text = String(decoding: bytes[index..<end], as: UTF8.self)
            tokens.append(Token(text: text, line: line, isGlued: isGlued))
            isGlued = true
            index = end
        }
        return tokens
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 128...255:
            true
        default: false
        }
    }

    /// What can only stand after the end of a requirement that has no body.
    private static let declarations: Set = [
        "func", "var", "let", "init", "deinit", "subscript", "case", "struct", "class", "enum",
        "extension", "protocol", "typealias", "associatedtype", "static", "mutating", "public",
        "package", "internal", "private", "fileprivate", "import",
    ]

    /// Functions and initializers that have bodies, from their `func` or `init` to the last brace.
    private static func functions(_ tokens: [Token]) -> [Function] {
        var functions: [Function] = []
        for (start, token) in tokens.enumerated() {
            guard token.text == "func" || token.text == "init" || token.text == "deinit" else {
                continue
            }
            // `.init(…)` and `self.init` are calls.
            if start > 0, [".", "`"].contains(tokens[start - 1].text) { continue }
            guard let open = bodyStart(tokens, after: start) else { continue }
            guard let close = closing(tokens, open) else { continue }
            let isNamed = token.text == "func" && tokens[start + 1].text != "`"
            let name = isNamed ? tokens[start + 1].text : token.text
            functions.append(
                Function(
                    name: name, line: token.line,
                    lineCount: tokens[close].line - token.line + 1))
        }
        return functions
    }

    private static func bodyStart(_ tokens: [Token], after start: Int) -> Int? {
        var depth = 0
        var index = start + 1
        while index < tokens.count {
            switch tokens[index].text {
            case "(", "[": depth += 1
            case ")", "]": depth -= 1
            case "{" where depth == 0: return index
            case "}" where depth == 0: return nil
            case let word where depth == 0 && index > start + 1 && declarations.contains(word):
                return nil
            default: break
            }
            if depth < 0 { return nil }
            index += 1
        }
        return nil
    }

    private static func closing(_ tokens: [Token], _ open: Int) -> Int? {
        var depth = 0
        for index in open..<tokens.count {
            if tokens[index].text == "{" { depth += 1 }
            if tokens[index].text == "}" { depth -= 1 }
            if depth == 0 { return index }
        }
        return nil
    }

    private static let importKinds: Set = [
        "typealias", "struct", "class", "enum", "protocol", "let", "var", "func",
    ]

    private static func imports(_ tokens: [Token]) -> [Token] {
        tokens.indices.compactMap { index in
            guard tokens[index].text == "import", index + 1 < tokens.count else { return nil }
            if index > 0, tokens[index - 1].text == "." { return nil }
            let isOfKind = importKinds.contains(tokens[index + 1].text)
            let name = index + (isOfKind ? 2 : 1)
            return name < tokens.count ? tokens[name] : nil
        }
    }
}

/// Overwrites comments, and the text of strings and of raw identifiers, with blanks.
private struct Blanker {
    let bytes: [UInt8]
    var result: [UInt8] = []
    var index = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
        result.reserveCapacity(bytes.count)
    }

    mutating func run() -> [UInt8] {
        code(untilParenthesis: false)
        return result
    }

    /// Copies code up to the end, or up to the parenthesis that closes an interpolation.
    private mutating func code(untilParenthesis: Bool) {
        var depth = 0
        while index < bytes.count {
            if starts("//") {
                while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { blank() }
            } else if starts("/*") {
                comment()
            } else if let marks = stringStart() {
                string(marks)
            } else if bytes[index] == UInt8(ascii: "`") {
                escapedIdentifier()
            } else {
                if bytes[index] == UInt8(ascii: "(") { depth += 1 }
                if bytes[index] == UInt8(ascii: ")") {
                    if depth == 0, untilParenthesis { return }
                    depth -= 1
                }
                keep()
            }
        }
    }

    private mutating func comment() {
        var depth = 0
        repeat {
            if starts("/*") {
                depth += 1
                blank(2)
            } else if starts("*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && index < bytes.count
    }

    /// The number of `#` before a string that starts here; nil if none does.
    private func stringStart() -> Int? {
        var end = index
        while end < bytes.count, bytes[end] == UInt8(ascii: "#") { end += 1 }
        return end < bytes.count && bytes[end] == UInt8(ascii: "\"") ? end - index : nil
    }

    /// Of an identifier in backticks that has blanks, only the backticks are kept: its words, and
    /// what else is in it, are no code.
    private mutating func escapedIdentifier() {
        var end = index + 1
        while end < bytes.count, bytes[end] != UInt8(ascii: "`"), bytes[end] != UInt8(ascii: "\n") {
            end += 1
        }
        let isRaw = bytes[index..<end].contains(UInt8(ascii: " "))
        keep()
        if isRaw { blank(end - index) } else { keep(end - index) }
        keep()
    }

    private mutating func string(_ marks: Int) {
        blank(marks)
        let suffix = String(repeating: "#", count: marks)
        let quotes = starts("\"\"\"") ? "\"\"\"" : "\""
        keep(quotes.utf8.count)
        while index < bytes.count {
            if starts(quotes + suffix) {
                keep(quotes.utf8.count)
                blank(marks)
                return
            }
            if quotes.utf8.count == 1, bytes[index] == UInt8(ascii: "\n") { return }
            if starts("\\" + suffix + "(") {
                blank(1 + marks)
                keep()
                code(untilParenthesis: true)
                keep()
            } else if starts("\\" + suffix) {
                blank(2 + marks)
            } else {
                blank()
            }
        }
    }

    private func starts(_ text: String) -> Bool {
        var position = index
        for byte in text.utf8 {
            guard position < bytes.count, bytes[position] == byte else { return false }
            position += 1
        }
        return true
    }

    private mutating func keep(_ count: Int = 1) {
        for _ in 0..<count where index < bytes.count {
            result.append(bytes[index])
            index += 1
        }
    }

    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where index < bytes.count {
            result.append(bytes[index] == UInt8(ascii: "\n") ? bytes[index] : 32)
            index += 1
        }
    }
}
