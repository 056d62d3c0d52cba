import DirtyBitmap
import TestSupport
import Testing

@Suite struct SerializationTests {
    /// The stored form is a contract with files on disks: bytes written down by hand.
    @Test func `the layout is little-endian words`() throws {
        var bitmap = DirtyBitmap(size: 70 * 512, granularity: .min)
        for granule in [0, 9, 63, 65] as [Int64] {
            bitmap.set((granule * 512)..<(granule * 512 + 1))
        }
        let expected: [UInt8] = [1, 2, 0, 0, 0, 0, 0, 128, 2, 0, 0, 0, 0, 0, 0, 0]
        #expect(bitmap.serialized() == expected)
        #expect(bitmap.serializedByteCount == 16)
        let byteCount = try DirtyBitmap.byteCount(size: 70 * 512, granularity: .min)
        #expect(byteCount == 16)
        let loaded = try DirtyBitmap(
            size: 70 * 512, granularity: .min, littleEndianWords: expected)
        let equal = loaded == bitmap
        #expect(equal)
    }

    @Test(arguments: Shape.small)
    func `a serialized bitmap comes back`(shape: Shape) throws {
        var random = RandomTest.generator(defaultSeed: 0x5E_21A1)
        var bitmap = DirtyBitmap(size: shape.size, granularity: shape.granularity)
        for _ in 0..<10 { bitmap.set(random.range(in: shape)) }
        let loaded = try DirtyBitmap(
            size: shape.size, granularity: shape.granularity,
            littleEndianWords: bitmap.serialized())
        loaded.checkInvariants()
        let equal = loaded == bitmap
        #expect(equal, "\(shape): \(random.replay)")
    }

    @Test func `what is appended leaves what is there`() {
        var bitmap = DirtyBitmap(size: 200 * 512, granularity: .min)
        bitmap.set((64 * 512)..<(65 * 512))
        var bytes: [UInt8] = [7]
        bitmap.serialize(words: 1..<2, into: &bytes)
        bitmap.serialize(words: 2..<2, into: &bytes)
        #expect(bytes == [7, 1, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test func `only what was asked for is written into foreign memory`() {
        var bitmap = DirtyBitmap(size: 200 * 512, granularity: .min)
        bitmap.setAll()
        var buffer = [UInt8](repeating: 9, count: 20)
        buffer.withUnsafeMutableBytes { raw in
            var span = raw.mutableBytes
            bitmap.serialize(words: 3..<4, into: &span, at: 5)
        }
        let expected: [UInt8] = [255, 0, 0, 0, 0, 0, 0, 0]
        #expect(Array(buffer[5..<13]) == expected)
        #expect(buffer[..<5].allSatisfy { $0 == 9 } && buffer[13...].allSatisfy { $0 == 9 })
    }

    @Test func `a page replaces its words only`() throws {
        var bitmap = DirtyBitmap(size: 192 * 512, granularity: .min)
        bitmap.setAll()
        try bitmap.load(words: [UInt8](repeating: 0, count: 8), at: 1)
        #expect(bitmap.runs() == [0..<32768, 65536..<98304])
        try bitmap.load(words: [], at: 3)
        #expect(bitmap.dirtyCount == 128)
    }

    @Test func `the wrong length is refused`() {
        for count in [0, 8, 15, 17, 24] {
            #expect(throws: DirtyBitmapError.wrongByteCount(found: count, expected: 16)) {
                _ = try DirtyBitmap(
                    size: 70 * 512, granularity: .min,
                    littleEndianWords: [UInt8](repeating: 0, count: count))
            }
        }
    }

    @Test func `bits behind the end are refused and named`() {
        for bit in 70..<128 {
            var bytes = [UInt8](repeating: 255, count: 8) + [63, 0, 0, 0, 0, 0, 0, 0]
            bytes[bit / 8] |= 1 << UInt8(bit % 8)
            let stored = bytes
            #expect(throws: DirtyBitmapError.bitPastEnd(bit: bit, granuleCount: 70)) {
                _ = try DirtyBitmap(
                    size: 70 * 512, granularity: .min, littleEndianWords: stored)
            }
        }
        let text = DirtyBitmapError.bitPastEnd(bit: 71, granuleCount: 70).description
        #expect(text.contains("bit 71"))
    }

    @Test func `a refused page changes nothing`() {
        var bitmap = DirtyBitmap(size: 70 * 512, granularity: .min)
        bitmap.set(0..<1)
        let full = [UInt8](repeating: 255, count: 16)
        #expect(throws: DirtyBitmapError.bitPastEnd(bit: 70, granuleCount: 70)) {
            try bitmap.load(words: full, at: 0)
        }
        #expect(throws: DirtyBitmapError.partialWord(byteCount: 9)) {
            try bitmap.load(words: Array(full[..<9]), at: 0)
        }
        for (first, words) in [(1, 2), (2, 2), (3, 2), (-1, 2), (Int.max, 2), (3, 0)] {
            #expect(
                throws: DirtyBitmapError.pageOutOfBounds(
                    firstWord: first, wordCount: words, bitmapWordCount: 2)
            ) {
                try bitmap.load(words: Array(full[..<(words * 8)]), at: first)
            }
        }
        #expect(bitmap.runs() == [0..<512])
    }

    @Test func `damaged sizes are refused before anything is allocated`() {
        #expect(throws: DirtyBitmapError.negativeSize(-1)) {
            _ = try DirtyBitmap(size: -1, granularity: .min, littleEndianWords: [])
        }
        #expect(throws: DirtyBitmapError.wrongByteCount(found: 0, expected: 1 << 35)) {
            _ = try DirtyBitmap(size: 1 << 47, granularity: .min, littleEndianWords: [])
        }
        let beyond: Int64 = 1 << 47 + 1
        let error = DirtyBitmapError.tooManyGranules(size: beyond, granularity: .min)
        #expect(throws: error) {
            _ = try DirtyBitmap(size: beyond, granularity: .min, littleEndianWords: [])
        }
        #expect(throws: error) { try DirtyBitmap.byteCount(size: beyond, granularity: .min) }
        #expect(error.description.hasSuffix("use a granularity of at least 1 KiB"))
    }
}
