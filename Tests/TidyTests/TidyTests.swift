import Testing

/// That the repository is tidy.
@Suite struct TidyTests {
    @Test(arguments: Rule.all)
    func `the tree keeps every rule`(_ rule: Rule) {
        report(SourceTree.files.flatMap { rule.violations(in: $0) }, rule: rule.name)
    }

    @Test func `the manifest declares what the modules may know and do import`() throws {
        let file = try #require(SourceTree.files.first { $0.path == "Package.swift" })
        let manifest = PackageManifest(file.text)
        let modules = Set(SourceTree.files.filter(\.isSwift).compactMap(\.module))
        let missing = modules.subtracting(manifest.targets.map(\.name))
        #expect(missing.isEmpty, "folders of Sources that Package.swift does not name")
        report(manifest.violations(files: SourceTree.files), rule: Ratchet.manifest)
    }

    @Test func `everything that is declared is used somewhere`() {
        let unused = UnusedDeclarations.violations(files: SourceTree.files)
        #expect(unused.isEmpty, "\(unused.map(\.description).joined(separator: "\n"))")
    }

    @Test func `what nobody uses is found`() {
        let text = "struct A { let b = 1; func c() {} }\nlet d = A().b\nswitch d { case e: d }\n"
        let file = SourceFile(path: "Sources/Ring/A.swift", text: text)
        let user = SourceFile(path: "Tests/RingTests/A.swift", text: "// c()\nd\n")
        #expect(
            UnusedDeclarations.violations(files: [file, user])
                == [Violation(path: file.path, line: 1, why: "nobody uses c")])
    }

    @Test func `the ratchet names only rules and files that exist`() {
        let rules = Set(Rule.all.map(\.name) + [Ratchet.manifest])
        let paths = Set(SourceTree.files.map(\.path))
        for (rule, files) in Ratchet.allowed {
            #expect(rules.contains(rule), "no rule '\(rule)'")
            for path in files.keys { #expect(paths.contains(path), "'\(rule)': no file \(path)") }
        }
        for place in Rule.unsafePlaces where !place.path.hasSuffix("/") {
            #expect(paths.contains(place.path), "unsafe places: no file \(place.path)")
        }
    }

    @Test func `the tree was found at all`() {
        #expect(SourceTree.files.contains { $0.path == "Sources/Ring/Ring.swift" })
        #expect(SourceTree.files.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
        #expect(SourceTree.files.count > 50)
    }

    /// Records one issue for each file that has more violations than the ratchet allows, with all
    /// of them; and a warning for each that has fewer, so that somebody lowers the number.
    private func report(_ violations: [Violation], rule: String) {
        let byPath = Dictionary(grouping: violations, by: \.path)
        let paths = Set(byPath.keys).union(Ratchet.allowed[rule, default: [:]].keys)
        for path in paths.sorted() {
            let found = byPath[path] ?? []
            let allowed = Ratchet.allowed(rule, path)
            if found.count > allowed {
                let list = found.map(\.description).joined(separator: "\n")
                let ratchet = allowed > 0 ? " (\(allowed) allowed)" : ""
                Issue.record("\(rule)\(ratchet):\n\(list)")
            } else if found.count < allowed {
                Issue.record(
                    "\(rule): \(path) has only \(found.count); lower the ratchet's \(allowed)",
                    severity: .warning)
            }
        }
    }
}
