import ArgumentParser
import Foundation
import Testing

@testable import RingMirrorCLI

/// What `-h` and `--help` say.
@Suite struct HelpTests {
    /// Every command with the words that lead to it.
    static let commands: [(words: [String], type: any ParsableCommand.Type)] = all(
        RingMirrorCommand.self, [])

    private static func all(
        _ type: any ParsableCommand.Type, _ words: [String]
    ) -> [(words: [String], type: any ParsableCommand.Type)] {
        [(words, type)]
            + type.configuration.subcommands.flatMap {
                all($0, words + [$0.configuration.commandName ?? ""])
            }
    }

    private func help(_ type: any ParsableCommand.Type) -> String {
        RingMirrorCommand.helpMessage(for: type, columns: 80)
    }

    /// All options that some command has.
    private var options: Set<String> {
        Set(
            Self.commands.flatMap { command in
                help(command.type).matches(of: /--[a-z][a-z0-9-]*/).map { String($0.output) }
            })
    }

    @Test func `every command has an example and fits into 80 columns`() {
        for (words, type) in Self.commands {
            let text = help(type)
            for line in text.split(separator: "\n") {
                #expect(line.count <= 80, "\(words): \(line)")
            }
            guard words.last != "bench" else { continue }
            #expect(text.contains("  ringmirror " + words.joined(separator: " ")), "\(words)")
        }
    }

    @Test func `values are listed once`() {
        for (words, type) in Self.commands {
            // An option with what stands beside it, in one line.
            let entries = help(type).replacing(/\n {26}/, with: " ").split(separator: "\n")
            for entry in entries {
                guard let list = entry.firstMatch(of: /\(values: ([^;)]*)/) else { continue }
                let values = list.output.1.split(separator: ", ")
                let before = entry[..<list.range.lowerBound]
                let said = values.filter { value in
                    before.split { !$0.isLetter && $0 != "-" }.contains(value)
                }
                #expect(values.count == 1 || said.count < values.count, "\(words): \(entry)")
                #expect(entry.ranges(of: "default:").count <= 1, "\(words): \(entry)")
            }
        }
    }

    @Test func `the short help is short and leads to the long one`() {
        for (words, type) in Self.commands {
            let text = ShortHelp.text(of: help(type))
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            let options = lines.filter { $0.hasPrefix("  -") }
            #expect((1...12).contains(options.count), "\(words): \(options)")
            #expect(lines.count <= 55, "\(words)")
            #expect(lines.last?.contains("--help") == true, "\(words)")
            #expect(text.contains("OVERVIEW") && text.contains("USAGE"), "\(words)")
            #expect(!lines.contains { $0.hasPrefix("        ") && !$0.hasPrefix("         ") })
            guard words.last != "bench" else { continue }
            #expect(text.contains("  ringmirror " + words.joined(separator: " ")), "\(words)")
        }
    }

    @Test func `only -h is short`() {
        #expect(ShortHelp.isAsked(["full", "-h"]))
        #expect(!ShortHelp.isAsked(["full", "--help"]))
        #expect(!ShortHelp.isAsked(["compare", "a", "--", "-h"]))
        #expect(ShortHelp.everyday.subtracting(options).isEmpty)
    }

    @Test(arguments: ["README.md", "docs/cli.md"])
    func `documents name options that are there`(path: String) throws {
        // Of other tools, or that there is none of.
        let foreign: Set = [
            "--add", "--detach", "--dump", "--find", "--force", "--move-second-header",
            "--partscan", "--relocate", "--sector-size", "--setrw", "--show", "--thin1", "--thin2",
        ]
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: path), encoding: .utf8)
        let named = text.matches(of: /--[a-z][a-z0-9-]+/).map { String($0.output) }
        #expect(!named.isEmpty)
        let unknown = Set(named).subtracting(options).subtracting(foreign)
        #expect(unknown.isEmpty, "\(unknown)")
    }

    @Test func `values of options end where options end`() {
        #expect(
            Spellings.translate(["--verify=all", "--resume=auto"]) == [
                "--verify-all", "--resume-auto",
            ])
        let paths = ["compare", "a", "--", "--verify=all"]
        #expect(Spellings.translate(paths) == paths)
    }
}
