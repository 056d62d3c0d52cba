import Foundation
import RingMirror
import Testing

@testable import RingMirrorCLI

/// What is a contract is written down.
@Suite struct DocumentTests {
    private static func document(_ name: String) throws -> String {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        return try String(contentsOf: url.appendingPathComponent("docs/\(name)"), encoding: .utf8)
    }

    @Test func `every code of an error is in the document`() throws {
        let text = try Self.document("json.md")
        let codes = ErrorCode.allCases.map(\.rawValue) + CommandCode.allCases.map(\.rawValue)
        let missing = codes.filter { !text.contains("`\($0)`") }
        #expect(missing.isEmpty)
    }

    @Test func `every code of a warning is in the document`() throws {
        let text = try Self.document("json.md")
        let missing = RemarkCode.allCases.map(\.rawValue).filter { !text.contains("`\($0)`") }
        #expect(missing.isEmpty)
    }

    @Test func `every claim and every piece of evidence is in the document`() throws {
        let text = try Self.document("json.md")
        let claims = MirrorClaim.Kind.allCases.map(\.rawValue)
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        let source = try String(
            contentsOf: url.appendingPathComponent(
                "Sources/MirrorEngine/Recording/MirrorClaim.swift"),
            encoding: .utf8)
        let evidence = source.matches(of: /case \.[a-zA-Z]+: "([a-zA-Z]+)"/).map { String($0.1) }
        #expect(claims.count > 8 && evidence.count > 12)
        #expect((claims + evidence).filter { !text.contains("`\($0)`") }.isEmpty)
    }

    /// Every `let event = "…"` of the sources, and the kinds that are handed over.
    @Test func `every event has an example that is JSON`() throws {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        let sources = url.appendingPathComponent("Sources/RingMirrorCLI")
        let files = try #require(
            FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        var kinds: Set<String> = []
        for case let file as URL in files where file.pathExtension == "swift" {
            let text = try String(contentsOf: file, encoding: .utf8)
            for match in text.matches(of: /(?:let event = |event: )"([a-zA-Z]+)"/) {
                kinds.insert(String(match.1))
            }
        }
        #expect(kinds.count > 10)
        var shown: Set<String> = []
        for line in try Self.document("json.md").split(separator: "\n") where line.hasPrefix("{") {
            let fields = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            shown.insert(try #require(fields?["event"] as? String, "\(line)"))
        }
        #expect(shown == kinds)
    }
}
