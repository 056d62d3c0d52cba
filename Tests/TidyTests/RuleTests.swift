import Testing

/// That each rule can be broken, and is not broken by what only looks like it.
@Suite struct RuleTests {
    struct Sample: Sendable {
        let rule: Rule
        let text: String
        /// The lines of the violations.
        let lines: [Int]
        let path: String

        init(
            _ rule: Rule, _ text: String, _ lines: [Int], path: String = "Sources/Ring/Bad.swift"
        ) {
            self.rule = rule
            self.text = text
            self.lines = lines
            self.path = path
        }
    }

    @Test(arguments: bad + good)
    func `each sample breaks its rule in the expected lines`(_ sample: Sample) {
        let violations = sample.rule.violations(sample.text, path: sample.path)
        #expect(violations.map(\.line) == sample.lines, "\(sample.rule.name): \(violations)")
        #expect(violations.allSatisfy { $0.path == sample.path && !$0.why.isEmpty })
    }

    @Test func `every rule has a sample that breaks it`() {
        let broken = Set(Self.bad.filter { !$0.lines.isEmpty }.map(\.rule.name))
        #expect(Rule.all.map(\.name).filter { !broken.contains($0) }.isEmpty)
    }

    private static func longFunction(_ count: Int, in file: String = "a()") -> String {
        "struct S {\n    func long() {\n" + String(repeating: file + "\n", count: count)
            + "    }\n}\n"
    }

    private static let leftover = Rule.leftoverWords[0]
    private static let folder = "/" + Rule.machineFolders[0] + "/"

    static let bad: [Sample] = [
        Sample(.lineLength, "a\n" + String(repeating: "x", count: 101) + "\n", [2]),
        Sample(
            .lineLength, String(repeating: "x", count: 101), [1], path: "Sources/CLinux/shim.h"),
        Sample(.functionLength, longFunction(69), [2]),
        Sample(.functionLength, longFunction(70, in: "if \"{\" == x { /* } */ }"), [2]),
        Sample(.fileLength, String(repeating: "a\n", count: 401), [401]),
        Sample(
            .fileLength, String(repeating: "a\n", count: 601), [601], path: "Tests/A/A.swift"),
        Sample(.fileName, "struct Good {}\n", [1]),
        Sample(.fileName, "// Bad\n    struct Bad {}\nextension Good {}\n", [1]),
        Sample(
            .testNames,
            "@Test(\n    \"a b\")\nfunc `a b`() {}\n@Suite(\"c\", .serialized) struct C {}\n",
            [1, 4], path: "Tests/A/A.swift"),
        Sample(
            .testNames, "@Test func aB() {}\n@Test(arguments: [1])\nfunc `b`(c: Int) {}\n", [1, 3],
            path: "Tests/A/A.swift"),
        Sample(
            .testNames, "@Test func `A name`() {}\n@Test func `Names begin`() {}\n", [1, 2],
            path: "Tests/A/A.swift"),
        Sample(
            .imports, "import Glibc\npublic import Foundation\n", [2]),
        Sample(.imports, "@testable import struct DirtyBitmap.DirtyBitmap\n", [1]),
        Sample(.imports, "import Glibc\n", [1], path: "Sources/DirtyBitmap/A.swift"),
        Sample(
            .imports, "internal import CLiburing\n", [1], path: "Sources/MirrorEngine/A.swift"),
        Sample(.imports, "import Swift\n", [1], path: "Sources/Unheard/A.swift"),
        Sample(
            .headers, "#include <stdint.h>\n#include <sys/types.h>\n  #  import <fcntl.h> // a\n",
            [2, 3], path: "Sources/CLinux/include/CLinux.h"),
        Sample(
            .headers, "#include \"stdint.h\"\n#include \"../linux.c\"\n#include A\n", [1, 2, 3],
            path: "Sources/CLinux/include/A.h"),
        Sample(
            .headers, "#include_next <stdint.h\n#include\n", [1, 2],
            path: "Sources/CLinux/include/sub/A.h"),
        Sample(.headers, "module A {\n}\n", [1], path: "Sources/CLinux/module.modulemap"),
        Sample(.headers, "a\n    .systemLibrary(name: \"A\"),\n", [2], path: "Package.swift"),
        Sample(
            .unsafeCode, "let a = 1\nlet b = unsafe p[0]\n", [2],
            path: "Sources/DirtyBitmap/A.swift"),
        Sample(
            .unsafeCode, "nonisolated(unsafe) var a = 1\n", [1],
            path: "Sources/BlockStorage/A.swift"),
        Sample(.crashes, "let a = try! b()\nlet c = d as! E\n", [1, 2]),
        Sample(
            .crashes, "a!.b()\nc()!\nd[0]!\ne?.f!\n\"\\(g!)\"\nvar h: I!\n", [1, 2, 3, 4, 5, 6]),
        Sample(.crashes, "guard a else { fatalError(\"no\") }\n", [1]),
        Sample(.printing, "print(1)\ndebugPrint(2)\n    dump(3)\n", [1, 2, 3]),
        Sample(.leftovers, "// a\n// \(leftover): b\n", [2], path: "Makefile"),
        Sample(.leftovers, "/* \(Rule.leftoverWords[2]) */\n", [1]),
        Sample(.uncheckedBuilds, "\tswift build \(Rule.uncheckedFlag)\n", [1], path: "Makefile"),
        Sample(.machinePaths, "a\nlet b = \"\(folder)me/x\"\n", [2]),
        Sample(.machinePaths, "see \(folder)me\n", [1], path: "README.md"),
        Sample(.whitespace, "a\n\tb\n", [2]),
        Sample(.whitespace, "a \nb\r\nc\n", [1, 2]),
        Sample(.whitespace, "a", [1]),
        Sample(.whitespace, "a\n\n", [3]),
        Sample(.documentation, "// not this\npublic func a() {}\n", [2]),
        Sample(.documentation, "/// a\nlet b = 1\n@safe public final class C {}\n", [3]),
        Sample(.documentation, "/// a\n\n    public static let b = 1\n", [3]),
        Sample(.documentation, "@available(*, deprecated)\npublic init() {}\n", [2]),
        Sample(.options, "a\nb(\"use --create\")\nc(\"run `ringmirror full`\")\n", [2, 3]),
        Sample(.links, "a\n[b](nothing.md)\n[c](docs/nothing.md#d)\n", [2, 3], path: "README.md"),
        Sample(.links, "![b](nothing.svg)\n", [1], path: "docs/README.md"),
    ]

    static let good: [Sample] = [
        Sample(.lineLength, String(repeating: "ü", count: 100) + "\n", []),
        Sample(.functionLength, longFunction(68), []),
        // A requirement without a body does not swallow what follows.
        Sample(
            .functionLength,
            "protocol P {\n    func a() throws\n    var b: Int { get }\n    init(c: Int)\n"
                + String(repeating: "    // d\n", count: 80) + "}\nextension P { func e() {} }\n",
            []),
        Sample(.functionLength, "let a = S.init(b)\n" + longFunction(10), []),
        Sample(.fileLength, String(repeating: "a\n", count: 400), []),
        Sample(.fileName, "import Glibc\n\n@safe public struct BadThing {}\n", []),
        Sample(
            .fileName, "extension Bad where A == B {\n}\n", [],
            path: "Sources/Ring/Bad+Good.swift"),
        Sample(
            .fileName, "package func badThing() {}\n", [], path: "Sources/Ring/BadThing.swift"),
        Sample(
            .fileName, "struct SlotIndex {}\n", [], path: "Sources/Ring/Indices.swift"),
        Sample(
            .testNames,
            "@Suite(.serialized) struct A {\n    func b() {}\n    @Test(.bug(\"c\"))\n"
                + "    func `it's \"d\" // or no`() {}\n    @Test func `GPT and QEMU`() {}\n}\n",
            [], path: "Tests/A/A.swift"),
        Sample(.imports, "internal import CLiburing\nimport Glibc\n// import Foundation\n", []),
        Sample(
            .imports, "import FoundationEssentials\n", [],
            path: "Sources/RingMirrorCLI/A.swift"),
        Sample(.imports, "import Foundation\n", [], path: "Tests/RingTests/A.swift"),
        Sample(
            .headers,
            "#pragma once\n#include <stdint.h>\n# include <stddef.h> /* a */\n"
                + "#include \"CLinux.h\"\n// #include <fcntl.h>\n#define B <fcntl.h>\n",
            [], path: "Sources/CLinux/include/A.h"),
        Sample(.headers, "#include <fcntl.h>\n", [], path: "Sources/CLinux/linux.c"),
        Sample(.headers, "#include <fcntl.h>\n", [], path: "Sources/CProcess/internal.h"),
        Sample(.unsafeCode, "let a = unsafe p[0]\n", []),
        Sample(
            .unsafeCode, "// unsafe\nlet a = \"unsafe\", unsafely = 1\n", [],
            path: "Sources/DirtyBitmap/A.swift"),
        Sample(
            .crashes,
            "if !a, b != c, d!=e, f !== g { h(!i) }\n// j!\nlet k = \"l! \\(m)!\"\ntry? n()\n", []),
        Sample(
            .crashes, "let a = #\"b! \\(c!) \"d!\" \"#\nlet e = \"\"\"\n    f!\n    \"\"\"\n", []),
        Sample(.crashes, "/* a! /* b! */ c! */ let d = 1\n", []),
        Sample(.crashes, "a!\n", [], path: "Tests/RingTests/A.swift"),
        Sample(.printing, "Events.print(1)\nfunc print(_ a: Int) {}\n// print(b)\n", []),
        Sample(.printing, "print(1)\n", [], path: "Sources/RingMirrorCLI/A.swift"),
        Sample(.leftovers, "mkstemp(\"\(Rule.leftoverWords[2])\(Rule.leftoverWords[2])\")\n", []),
        Sample(.uncheckedBuilds, "never \(Rule.uncheckedFlag)\n", [], path: "CONTRIBUTING.md"),
        Sample(.machinePaths, "a/\(Rule.machineFolders[3])/b and ~\(folder)c\n", []),
        Sample(.whitespace, "a\n\nb\n", []),
        Sample(.whitespace, "a:\n\tb\n", [], path: "Makefile"),
        Sample(
            .documentation,
            "/// a\npublic func b() {}\n/// c\n@inlinable\n@safe public struct D {}\n"
                + "public import Ring\nfunc e() {}\npublic var description: String { f }\n"
                + "let g = \"\"\"\n    public h\n    \"\"\"\n",
            []),
        Sample(.options, "// see --create\nlet a = \"`gpg --list`\"\n", []),
        Sample(.options, "b(\"use --create\")\n", [], path: "Sources/RingMirrorCLI/A.swift"),
        Sample(
            .links,
            "[a](README.md#b) [c](https://d.e) [f](#g) [h](docs/)\n```\n[i](j)\n```\n", [],
            path: "CHANGELOG.md"),
        Sample(.links, "[a](../README.md) [b](cli.md)\n", [], path: "docs/json.md"),
    ]
}

/// The parts that rules are made of.
@Suite struct RulePartTests {
    @Test func `functions are found with their lengths`() {
        let code = SwiftCode(
            """
            struct S {
                init() { a() }
                func b(_ c: () -> Void = { d() }) async throws(E)
                    -> [Int] where F: G
                {
                    func h() {
                    }
                }
                deinit {
                }
                mutating func + (left: S) {}
                func `in case "{" or init(j)`() {
                }
                let i = S.init(j) { k }
            }
            """)
        let expected = [
            ("init", 2, 1), ("b", 3, 6), ("h", 6, 2), ("deinit", 9, 2), ("+", 11, 1),
            ("func", 12, 2),
        ]
        #expect(
            code.functions
                == expected.map { .init(name: $0.0, line: $0.1, lineCount: $0.2) })
    }

    @Test func `imports are found by module, whatever stands before and after`() {
        let code = SwiftCode(
            """
            import A
            @preconcurrency internal import B
            public import struct C.D
            @_exported import func E.F
            // import G
            let h = "import I"
            """)
        #expect(code.imports.map(\.text) == ["A", "B", "C", "E"])
        #expect(code.imports.map(\.line) == [1, 2, 3, 4])
    }

    @Test func `blanking keeps every line where it was`() {
        let text =
            "a /* b\n*/ c // d\n\"e\\\"f\" g\n\"\"\"\n  h \\(i + \"j\\(k)\") \"\" l\n\"\"\" m\n"
            + "`n` `o \"p // q`r\n"
        let code = SwiftCode(text)
        #expect(
            code.lines.count == text.split(separator: "\n", omittingEmptySubsequences: false).count)
        let words = code.tokens.filter(\.isWord)
        #expect(words.map(\.text) == ["a", "c", "g", "i", "k", "m", "n", "r"])
        #expect(words.map(\.line) == [1, 2, 3, 5, 5, 6, 7, 7])
    }

    private static let manifest = """
        let package = Package(
            products: [.library(name: "X", targets: ["X"])],
            targets: [
                libraryShim("CLiburing", "uring"),
                module("DirtyBitmap", []),
                module("Ring", ["CLiburing", "DirtyBitmap"]),
                .executableTarget(
                    name: "RingMirrorCLI",
                    dependencies: [
                        "RingMirror", systemPackage,
                        .product(name: "ArgumentParser", package: "swift-argument-parser"),
                    ]),
                tests("RingTests", ["Ring"]),
            ]
        )
        """

    @Test func `the manifest is read`() {
        let targets = PackageManifest(Self.manifest).targets
        #expect(
            targets == [
                .init(name: "DirtyBitmap", line: 5, dependencies: []),
                .init(name: "Ring", line: 6, dependencies: ["CLiburing", "DirtyBitmap"]),
                .init(
                    name: "RingMirrorCLI", line: 7,
                    dependencies: ["RingMirror", "ArgumentParser", "SystemPackage"]),
                .init(name: "RingTests", line: 13, dependencies: ["Ring"]),
            ])
    }

    @Test func `the manifest and the sources must agree`() {
        let files = [
            SourceFile(path: "Sources/DirtyBitmap/A.swift", text: "import Ring\n"),
            SourceFile(path: "Sources/Ring/A.swift", text: "import CLiburing\nimport Glibc\n"),
        ]
        let violations = PackageManifest(Self.manifest).violations(files: files)
        #expect(
            violations.map(\.description) == [
                "Package.swift:5: DirtyBitmap imports without declaring it Ring",
                "Package.swift:6: Ring may not depend on DirtyBitmap",
                "Package.swift:6: Ring declares and never imports DirtyBitmap",
            ])
    }
}
