/// How long things may be, and how they are laid out.
extension Rule {
    static let lineLengthMax = 100
    static let functionLengthMax = 70

    static let lineLength = Rule("Lines have at most 100 characters") {
        ($0.isSource || $0.isTest) && ($0.isSwift || $0.path.hasSuffix(".h"))
    } check: { file in
        file.lines.enumerated().compactMap { index, line in
            line.count <= lineLengthMax
                ? nil : file.violation(index + 1, "\(line.count) characters, not \(lineLengthMax)")
        }
    }

    static let functionLength = Rule("Functions have at most 70 lines") {
        $0.isSwift
    } check: { file in
        file.code.functions.filter { $0.lineCount > functionLengthMax }.map {
            file.violation(
                $0.line, "\($0.name) has \($0.lineCount) lines, not \(functionLengthMax)")
        }
    }

    static let fileLength = Rule("Files have at most 400 lines, those of tests 600") {
        $0.isSwift
    } check: { file in
        let limit = file.isTest ? 600 : 400
        let count = file.lines.count - (file.text.hasSuffix("\n") ? 1 : 0)
        return count <= limit ? [] : [file.violation(limit + 1, "\(count) lines, not \(limit)")]
    }

    static let whitespace = Rule("No tabs, no blanks at line ends, one newline at the end") { _ in
        true
    } check: { file in
        var violations: [Violation] = []
        let mayHaveTabs = file.path.hasSuffix("Makefile")
        for (index, line) in file.lines.enumerated() {
            if !mayHaveTabs, line.contains("\t") {
                violations.append(file.violation(index + 1, "a tab"))
            }
            if let last = line.unicodeScalars.last, [" ", "\t", "\r"].contains(last) {
                violations.append(file.violation(index + 1, "blanks at the end of the line"))
            }
        }
        if !file.text.hasSuffix("\n") {
            violations.append(file.violation(file.lines.count, "no newline at the end"))
        } else if file.text.hasSuffix("\n\n") {
            violations.append(file.violation(file.lines.count, "empty lines at the end"))
        }
        return violations
    }
}
