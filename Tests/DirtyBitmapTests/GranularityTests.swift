import DirtyBitmap
import Testing

@Suite struct GranularityTests {
    @Test func `every size has a granularity whose bitmap is small`() throws {
        for size: Int64 in [0, 1, 4 << 40, (4 << 40) + 1, 1 << 62, .max] {
            let chosen = Granularity(forSize: size)
            #expect(chosen >= .default)
            let bytes = try DirtyBitmap.byteCount(size: size, granularity: chosen)
            #expect(bytes <= 8 << 20 || chosen == .max)
            let least = Granularity(forSize: size, atLeast: .min)
            #expect(try DirtyBitmap.byteCount(size: size, granularity: least) <= 1 << 29)
        }
        #expect(Granularity(forSize: 4 << 40) == .default)
        #expect(Granularity(forSize: 5 << 40).bytes == 128 << 10)
        #expect(Granularity(forSize: 1 << 40, atLeast: .min) == .min)
    }

    @Test func `every power of two from a sector to 2 GiB`() throws {
        for shift in 9...31 {
            let granularity = try Granularity(bytes: 1 << Int64(shift))
            #expect(granularity.shift == shift)
            #expect(granularity.bytes == 1 << Int64(shift))
        }
        #expect(Granularity.min.bytes == 512)
        #expect(Granularity.default.bytes == 65536)
        #expect(Granularity.max.bytes == 2_147_483_648)
    }

    @Test(arguments: [Int64.min, -65536, -1, 0, 1, 256, 511, 513, 65535, 98304, 1 << 32, .max])
    func `other numbers are refused`(bytes: Int64) {
        #expect(throws: DirtyBitmapError.invalidGranularity(bytes: bytes)) {
            try Granularity(bytes: bytes)
        }
    }

    @Test func `a refusal names the value, the rule and the remedy`() {
        let text = DirtyBitmapError.invalidGranularity(bytes: 100_000).description
        #expect(text.contains("100000"))
        #expect(text.contains("power of two from 512 to 2147483648"))
        #expect(text.contains("use 65536 or 131072"))
        #expect(DirtyBitmapError.invalidGranularity(bytes: -1).description.hasSuffix("512 or more"))
        #expect(
            DirtyBitmapError.invalidGranularity(bytes: 1 << 40).description
                .hasSuffix("2147483648 or less"))
    }

    @Test func `a granularity reads as a size with its unit`() throws {
        #expect(Granularity.min.description == "512 B")
        #expect(Granularity.default.description == "64 KiB")
        #expect(try Granularity(bytes: 1 << 19).description == "512 KiB")
        #expect(try Granularity(bytes: 1 << 20).description == "1 MiB")
        #expect(Granularity.max.description == "2 GiB")
    }

    @Test func `a finer granularity is smaller`() {
        #expect(Granularity.min < .default)
        #expect(Granularity.default < .max)
    }
}
