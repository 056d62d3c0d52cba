import Foundation

/// What is said about the code, and whether it can be found.
extension Rule {
    /// Members that say nothing new: their protocol documents them.
    private static let witnesses = [
        "var description:", "static func ==", "func hash(",
        // Those of DescribedError.
        "var category: ErrorCategory", "var code: ErrorCode", "var path: FilePath?",
        "var offset: Int64?", "var problem: String {", "var remedy: Remedy {",
    ]

    static let documentation = Rule("Every public declaration is documented") {
        $0.isSource && $0.isSwift
    } check: { file in
        file.code.lines.indices.compactMap { index in
            let declaration = withoutAttributes(file.code.lines[index])
            guard declaration.hasPrefix("public "), !declaration.hasPrefix("public import"),
                !declaration.hasPrefix("public extension"),
                !witnesses.contains(where: { declaration.hasPrefix("public " + $0) })
            else { return nil }
            var above = index - 1
            while above >= 0, file.lines[above].trimmed.hasPrefix("@") { above -= 1 }
            if above >= 0, file.lines[above].trimmed.hasPrefix("///") { return nil }
            return file.violation(index + 1, "undocumented: \(declaration.trimmed)")
        }
    }

    /// The line from its first word that isn't an attribute.
    private static func withoutAttributes(_ line: Substring) -> Substring {
        var rest = line.drop { $0 == " " }
        while rest.first == "@" {
            rest = rest.dropFirst().drop { $0.isLetter || $0 == "_" }
            if rest.first == "(" { rest = rest.drop { $0 != ")" }.dropFirst() }
            rest = rest.drop { $0 == " " }
        }
        return rest
    }

    /// What the command line calls its ways; names of others' options are no concern of the rule.
    private static let commandWords = [
        "`ringmirror ", "--allow-", "--bitmaps", "--cache", "--create", "--depth", "--io ",
        "--keep", "--new-target", "--on-source-error", "--on-target-error", "--overwrite",
        "--request-size", "--resume", "--rings", "--target-is-zero", "--verify=", "-format raw",
    ]

    static let options = Rule("No text of the library names an option or a command") {
        $0.isSource && $0.isSwift && $0.module != "RingMirrorCLI"
    } check: { file in
        file.lines.enumerated().compactMap { index, line in
            guard !line.trimmed.hasPrefix("//"),
                let word = commandWords.first(where: { line.contains($0) })
            else { return nil }
            return file.violation(
                index + 1, "\(word.trimmingCharacters(in: .whitespaces)): use a Way instead")
        }
    }

    static let links = Rule("Links lead to files that are there") {
        $0.path.hasSuffix(".md")
    } check: { file in
        linkTargets(file).compactMap { line, target in
            let path = target.prefix { $0 != "#" }
            if path.isEmpty || path.contains(":") || path.hasPrefix("//") { return nil }
            let folder = (file.path as NSString).deletingLastPathComponent
            let full = (folder as NSString).appendingPathComponent(String(path))
            return SourceTree.exists(full)
                ? nil : file.violation(line, "\(target) is not there")
        }
    }

    /// The targets of `[text](target)` outside of code blocks, with their lines.
    private static func linkTargets(_ file: SourceFile) -> [(Int, Substring)] {
        var isCode = false
        var targets: [(Int, Substring)] = []
        for (index, line) in file.lines.enumerated() {
            if line.trimmed.hasPrefix("```") { isCode.toggle() }
            if isCode { continue }
            for start in line.ranges(of: "](") {
                let target = line[start.upperBound...].prefix { $0 != ")" && $0 != " " }
                targets.append((index + 1, target))
            }
        }
        return targets
    }
}

extension Substring {
    var trimmed: String { trimmingCharacters(in: .whitespaces) }
}
