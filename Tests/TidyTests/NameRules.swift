/// What files and declarations are called, and whether anybody uses them.
extension Rule {
    /// A file says in its name what is in it: a type that it declares or extends, a function, or
    /// what several of them have in their names.
    static let fileName = Rule("Files are named for what they declare") {
        $0.isSource && $0.isSwift && !$0.path.hasSuffix("/RingMirror.swift")
    } check: { file in
        let name = (file.path.split(separator: "/").last ?? "").prefix { $0 != "+" && $0 != "." }
        let names = file.code.topLevelNames
        let words = Self.words(of: name)
        let fits =
            names.contains { $0.lowercased() == name.lowercased() }
            || names.contains { !words.isDisjoint(with: Self.words(of: $0)) }
        return fits || names.isEmpty
            ? [] : [file.violation(1, "\(name) is none of \(names.joined(separator: ", "))")]
    }

    /// A test says in one place what holds, as a sentence or a part of one that begins in lower
    /// case, if not with a name in capitals. A display name would be a second place.
    static let testNames = Rule("Tests are named by raw identifiers, suites by their types") {
        $0.isTest && $0.isSwift
    } check: { file in
        let tokens = file.code.tokens
        return tokens.indices.dropLast(3).flatMap { index -> [Violation] in
            let kind = tokens[index + 1]
            guard tokens[index].text == "@", ["Test", "Suite"].contains(kind.text) else {
                return []
            }
            var violations: [Violation] = []
            if tokens[index + 2].text == "(", tokens[index + 3].text == "\"" {
                violations.append(file.violation(kind.line, "a display name"))
            }
            if kind.text == "Test", let problem = Self.nameProblem(file, afterToken: index) {
                violations.append(problem)
            }
            return violations
        }
    }

    private static func nameProblem(_ file: SourceFile, afterToken index: Int) -> Violation? {
        let tokens = file.code.tokens
        guard let function = tokens[index...].firstIndex(where: { $0.text == "func" }) else {
            return nil
        }
        let line = tokens[function].line
        // Of a raw identifier, only the backticks are left.
        guard tokens[function...].dropFirst().prefix(2).allSatisfy({ $0.text == "`" }) else {
            return file.violation(line, "a name that is no words in backticks")
        }
        let words = file.lines[line - 1].split(separator: "`").dropFirst().first ?? ""
        let first = words.prefix { $0 != " " }
        let isCapital =
            first.first?.isUppercase == true && first.dropFirst().allSatisfy(\.isLowercase)
        return isCapital ? file.violation(line, "a name that begins with a capital") : nil
    }

    /// The words of a name, each as it is and in the singular.
    private static func words(of name: some StringProtocol) -> Set<String> {
        var words: Set<String> = []
        var word = ""
        func end() {
            let lower = word.lowercased()
            words.insert(lower)
            if lower.hasSuffix("ices") { words.insert(lower.dropLast(4) + "ex") }
            if lower.hasSuffix("ies") { words.insert(lower.dropLast(3) + "y") }
            if lower.hasSuffix("s") { words.insert(String(lower.dropLast())) }
            word = ""
        }
        let letters = Array(name)
        for (index, letter) in letters.enumerated() {
            let next = index + 1 < letters.count ? letters[index + 1] : " "
            let begins = letter.isUppercase && (word.last?.isUppercase != true || next.isLowercase)
            if begins, !word.isEmpty { end() }
            word.append(letter)
        }
        if !word.isEmpty { end() }
        return words
    }
}

extension SwiftCode {
    /// The names of what is declared or extended without indentation.
    var topLevelNames: [String] {
        let kinds: Set = [
            "struct", "class", "enum", "protocol", "extension", "func", "typealias", "actor",
        ]
        return lines.flatMap { line -> [String] in
            guard line.first?.isWhitespace == false else { return [] }
            let words = line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
            guard let kind = words.firstIndex(where: { kinds.contains(String($0)) }),
                kind + 1 < words.count
            else { return [] }
            return [String(words[kind + 1])]
        }
    }

    /// What is declared by name, with the line.
    var declaredNames: [Token] {
        let kinds: Set = [
            "struct", "class", "enum", "protocol", "func", "typealias", "actor", "var", "let",
            "case",
        ]
        return tokens.indices.dropLast().compactMap { index in
            let name = tokens[index + 1]
            guard kinds.contains(tokens[index].text), name.isWord else { return nil }
            // A pattern of a switch names what is declared elsewhere.
            let isPattern =
                tokens[index].text == "case" && index + 2 < tokens.count
                && tokens[index + 2].text == ":"
            return isPattern ? nil : name
        }
    }
}

/// Declarations that nobody uses, of the whole tree.
enum UnusedDeclarations {
    /// What only the compiler calls, and what only an encoder reads.
    private static let witnesses: Set = ["makeAsyncIterator", "appendLiteral", "schema", "_"]

    static func violations(files: [SourceFile]) -> [Violation] {
        var uses: [String: Int] = [:]
        for file in files where file.isSwift {
            for token in file.code.tokens where token.isWord { uses[token.text, default: 0] += 1 }
        }
        return files.filter { $0.isSource && $0.isSwift }.flatMap { file in
            file.code.declaredNames.filter { uses[$0.text] == 1 && !witnesses.contains($0.text) }
                .map { file.violation($0.line, "nobody uses \($0.text)") }
        }
    }
}
