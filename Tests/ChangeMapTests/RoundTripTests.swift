import ChangeMap
import DirtyBitmap
import TestSupport
import Testing

/// That what is written says exactly what the bitmap said.
@Suite struct RoundTripTests {
    @Test(arguments: ChangeMap.writableFormats)
    func `a random bitmap comes back`(format: ChangeMapFormat) throws {
        var random = RandomTest.generator(defaultSeed: 0xC4A2_6E0F)
        for _ in 0..<RandomTest.events(default: 40) {
            let bitmap = try randomBitmap(&random)
            let again = try readBack(bitmap, format, options: .init(format: format))
            let equal = again == bitmap
            #expect(equal, "\(bitmap.size) bytes at \(bitmap.granularity): \(random.replay)")
        }
    }

    @Test(arguments: ChangeMap.writableFormats, [0, 1, 512, 1 << 20 + 1] as [Int64])
    func `all, nothing, and disks of no size come back`(
        format: ChangeMapFormat, size: Int64
    ) throws {
        var bitmap = DirtyBitmap(size: size, granularity: .min)
        let clean = try readBack(bitmap, format, options: .init(format: format))
        let cleanIsEqual = clean == bitmap
        #expect(cleanIsEqual)
        bitmap.setAll()
        let full = try readBack(bitmap, format, options: .init(format: format))
        let fullIsEqual = full == bitmap
        #expect(fullIsEqual)
    }

    @Test(arguments: [ChangeMapFormat.ddrescue, .ranges, .ringmirror])
    func `what we write is recognised`(format: ChangeMapFormat) throws {
        var bitmap = DirtyBitmap(size: 1 << 20)
        for _ in 0..<2 {
            let again = try readBack(bitmap, format, options: .init())
            let equal = again == bitmap
            #expect(equal)
            bitmap.set(65536..<65537)
        }
    }

    @Test func `formats that can't say 'unchanged' can't be written`() {
        let bitmap = DirtyBitmap(size: 512)
        for format in ChangeMapFormat.allCases
        where !ChangeMap.writableFormats.contains(format) {
            #expect(throws: ChangeMapError.self) {
                try ChangeMap.write(bitmap, format: format, name: "x")
            }
        }
    }

    @Test func `our own format is a contract with files on disks`() throws {
        var bitmap = DirtyBitmap(size: 200_000)
        bitmap.set(65536..<65537)
        bitmap.set(199_999..<200_000)
        let bytes = try ChangeMap.write(bitmap, format: .ringmirror, name: "nightly")
        let expected = """
            ringmirror bitmap 1
            name nightly
            size 200000
            granularity 65536
            # Offset and length of what is dirty, in bytes.
            65536 65536
            196608 3392
            end 2

            """
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
    }

    private func readBack(
        _ bitmap: borrowing DirtyBitmap, _ format: ChangeMapFormat, options: ChangeMapOptions
    ) throws -> DirtyBitmap {
        let bytes = try ChangeMap.write(bitmap, format: format, name: "bitmap")
        let map = try ChangeMap.read(
            bytes, name: "bitmap", deviceSize: bitmap.size, options: options)
        #expect(map.format == format)
        var again = DirtyBitmap(size: bitmap.size, granularity: bitmap.granularity)
        map.mark(in: &again)
        return again
    }

    private func randomBitmap(_ random: inout SeededGenerator) throws -> DirtyBitmap {
        let shift = Int64.random(in: 9...20, using: &random)
        let granularity = try Granularity(bytes: 1 << shift)
        let size = Int64.random(in: 0...(300 << shift), using: &random)
        var bitmap = DirtyBitmap(size: size, granularity: granularity)
        guard size > 0 else { return bitmap }
        for _ in 0..<Int.random(in: 0...60, using: &random) {
            let start = Int64.random(in: 0..<size, using: &random)
            let length = Int64.random(in: 0...(4 << shift), using: &random)
            bitmap.set(start..<min(size, start + length))
        }
        return bitmap
    }
}
