import Testing

@testable import ChangeMap

/// A line or a tag may be as long as the file: it must not take many times its memory.
@Suite struct LongLineTests {
    @Test func `a line has so many fields at most`() {
        let line = Array(String(repeating: "a ", count: 100_000).utf8) + [10]
        var lines = TextLines(line + Array("b c\n".utf8))
        let first = lines.next()
        #expect(first?.fields.count == TextLines.fieldsMax)
        #expect(first?.fields.last.map { $0.count > 100_000 } == true)
        #expect(lines.next()?.fields.count == 2)
    }

    @Test func `a tag has so many attributes at most`() {
        let attributes = (0..<100_000).map { " a\($0)='1'" }.joined()
        var scanner = XMLScanner(
            Array("<superblock\(attributes)/>".utf8), ChangeMapInput(name: "map", deviceSize: 4096))
        let error = #expect(throws: ChangeMapError.self) { _ = try scanner.next() }
        #expect(error.map { "\($0)".contains("too many attributes") } == true)
    }
}
