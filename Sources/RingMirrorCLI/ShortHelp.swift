/// The help of `-h`: what a command does, its everyday options, and examples. `--help` has all.
enum ShortHelp {
    /// What most people need on most days. Everything else is for `--help`.
    static let everyday: Set = [
        "--create", "--overwrite", "--only-differences", "--bitmap", "--map", "--new-target",
        "--base", "--keep",
        "--verify", "--speed", "--resume", "--dry-run", "--mode", "--into", "--granularity",
        "--target", "--shares", "--rounds", "--jobs", "--json", "--quiet", "--help",
    ]

    /// Whether these arguments ask for it.
    static func isAsked(_ arguments: [String]) -> Bool {
        let options = arguments.prefix { $0 != "--" }
        return options.contains("-h") && !options.contains("--help")
    }

    /// Shortens what argument-parser has rendered: of the overview the first two paragraphs and
    /// the examples stay, of the options the everyday ones with their first sentence.
    static func text(of help: String) -> String {
        let lines = help.split(separator: "\n", omittingEmptySubsequences: false)
        guard let usage = lines.firstIndex(where: { $0.hasPrefix("USAGE: ") }) else { return help }
        let overview = lines[..<usage].split(separator: "")
        let examples = overview.dropFirst(2).filter {
            $0.first?.hasPrefix("Examples:") == true || $0.first?.hasPrefix("Start with:") == true
        }
        var blocks = (overview.prefix(2) + examples).map { $0.joined(separator: "\n") }
        let rest = lines[usage...].split(separator: "")
        blocks += rest.prefix(1).map { $0.joined(separator: "\n") }
        var options: [Substring] = []
        for section in rest.dropFirst() where section.first?.hasSuffix(":") == true {
            let isOfOptions = section.dropFirst().first?.hasPrefix("  -") == true
            guard isOfOptions else {
                blocks.append(withoutDiscussions(section).joined(separator: "\n"))
                continue
            }
            options += everydayOnes(section.dropFirst())
        }
        blocks.append("OPTIONS:\n" + options.joined(separator: "\n"))
        blocks.append(end(of: rest.first ?? []))
        return blocks.joined(separator: "\n\n")
    }

    private static func everydayOnes(_ lines: ArraySlice<Substring>) -> [Substring] {
        var isKept = false
        return withoutDiscussions(lines).filter { line in
            if line.hasPrefix("  -") {
                let names = line.split { " ,/".contains($0) }
                isKept = names.contains { everyday.contains(String($0)) }
            }
            return isKept
        }
    }

    /// Without what stands below an option, indented less than what stands beside it.
    private static func withoutDiscussions(_ lines: ArraySlice<Substring>) -> [Substring] {
        lines.filter { !$0.hasPrefix("        ") || $0.hasPrefix("         ") }
    }

    private static func end(of usage: ArraySlice<Substring>) -> String {
        let words = (usage.first ?? "").split(separator: " ").dropFirst()
        let command = words.prefix { !"<[(".contains($0.first ?? " ") }.joined(separator: " ")
        return words.contains("<subcommand>")
            ? "'\(command) <subcommand> -h' tells about a command, '\(command) --help' more."
            : "'\(command) --help' shows all options and what they do."
    }
}
