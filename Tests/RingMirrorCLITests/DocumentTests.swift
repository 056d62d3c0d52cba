import Foundation
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
        let missing = ErrorCode.allCases.map(\.rawValue).filter { !text.contains("`\($0)`") }
        #expect(missing.isEmpty)
    }

    @Test func `every code of a warning is in the document`() throws {
        let text = try Self.document("json.md")
        let missing = RemarkCode.allCases.map(\.rawValue).filter { !text.contains("`\($0)`") }
        #expect(missing.isEmpty)
    }
}
