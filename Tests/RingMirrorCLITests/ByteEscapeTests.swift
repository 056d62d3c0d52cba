import Testing

@testable import RingMirrorCLI

/// Bytes of arguments as strings and back.
@Suite struct ByteEscapeTests {
    private func escape(_ bytes: [UInt8]) -> String {
        ByteEscape.escape(bytes.map { CChar(bitPattern: $0) })
    }

    @Test func `text stays text`() {
        for text in ["", "a", "vm.img", "дата-ö-日本", "👩‍👩‍👧", "a\nb\u{1B}[0m"] {
            #expect(escape(Array(text.utf8)) == text)
            #expect(ByteEscape.bytes(of: text) == Array(text.utf8))
        }
    }

    @Test func `every byte sequence comes back`() {
        var generator = SeededNumbers(seed: 1)
        var seen: [String: [UInt8]] = [:]
        // Often whole characters, and often pieces of them.
        let pieces: [[UInt8]] = [
            [0x41], [0xFF], [0x80], [0xC3], [0xC3, 0xA4], [0xE2, 0x82], [0xE2, 0x82, 0xAC],
            [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xF0, 0x9F, 0x98], [0xF4, 0x8F, 0xBE, 0x80],
            [0xF4, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80],
        ]
        for _ in 0..<2000 {
            let count = generator.below(8)
            let bytes = (0..<count).flatMap { _ in pieces[generator.below(pieces.count)] }
            let text = escape(bytes)
            #expect(ByteEscape.bytes(of: text) == bytes)
            // No two sequences are the same string: a name is never another one.
            if let other = seen.updateValue(bytes, forKey: text) { #expect(other == bytes) }
        }
        for byte in UInt8.min ... .max {
            #expect(ByteEscape.bytes(of: escape([byte])) == [byte])
        }
    }

    @Test func `a path has the bytes that were typed`() throws {
        let bytes: [UInt8] = [0x62, 0xE4, 0x63]
        let argument = try #require(PathArgument(argument: escape(bytes)))
        let path = argument.path.withPlatformString {
            Array(UnsafeBufferPointer(start: $0, count: 4))
        }
        #expect(path.map { UInt8(bitPattern: $0) } == bytes + [0])
        #expect(argument.utf8 == nil)
        #expect(PathArgument(argument: "") == nil)
        #expect(VisibleText.line("\(argument)") == "b\\xE4c")
        #expect(PathArgument(argument: "a b")?.utf8 == "a b")
    }
}
