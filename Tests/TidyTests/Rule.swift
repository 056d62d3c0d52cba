import Testing

/// One place that breaks a rule.
struct Violation: Sendable, Equatable, CustomStringConvertible {
    let path: String
    let line: Int
    let why: String

    var description: String { "\(path):\(line): \(why)" }
}

/// Something that holds for each file on its own.
struct Rule: Sendable, CustomTestStringConvertible {
    let name: String
    let appliesTo: @Sendable (SourceFile) -> Bool
    let check: @Sendable (SourceFile) -> [Violation]

    init(
        _ name: String, appliesTo: @escaping @Sendable (SourceFile) -> Bool,
        check: @escaping @Sendable (SourceFile) -> [Violation]
    ) {
        self.name = name
        self.appliesTo = appliesTo
        self.check = check
    }

    var testDescription: String { name }

    func violations(in file: SourceFile) -> [Violation] { appliesTo(file) ? check(file) : [] }

    /// For tests of the rule itself.
    func violations(_ text: String, path: String = "Sources/Ring/Bad.swift") -> [Violation] {
        violations(in: SourceFile(path: path, text: text))
    }

    static let all: [Rule] = [
        lineLength, functionLength, fileLength, fileName, testNames, imports, headers, unsafeCode,
        crashes, printing, leftovers,
        uncheckedBuilds, machinePaths, whitespace, documentation, options, links,
    ]
}

extension SourceFile {
    func violation(_ line: Int, _ why: String) -> Violation {
        Violation(path: path, line: line, why: why)
    }
}
