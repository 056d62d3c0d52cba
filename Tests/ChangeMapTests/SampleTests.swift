import ChangeMap
import DirtyBitmap
import Testing

@Suite struct SampleTests {
    @Test(arguments: Sample.all)
    func `a file of a tool means what the tool meant`(sample: Sample) throws {
        let map = try sample.read()
        #expect(map.format == sample.format)
        #expect(map.lines == sample.extents)
        #expect(map.gaps == sample.gaps)
        #expect(map.size == sample.deviceSize)
    }

    @Test(arguments: Sample.all)
    func `the format may be named as well as recognised`(sample: Sample) throws {
        var options = sample.options
        options.format = sample.format
        let named = try ChangeMap.read(
            sample.bytes, name: sample.name, deviceSize: sample.deviceSize, options: options)
        #expect(named.extents == (try sample.read()).extents)
    }

    @Test func `every format has a sample`() {
        let missing = Set(ChangeMapFormat.allCases).subtracting(Sample.all.map(\.format))
        #expect(missing.isEmpty)
    }

    @Test(arguments: Sample.all)
    func `a file that is cut off is an error, or leaves more to copy`(sample: Sample) throws {
        let whole = try marked(sample.read(), sample)
        for count in stride(from: 0, to: sample.bytes.count - 1, by: 7) {
            let part = Array(sample.bytes[..<count])
            guard
                let map = try? ChangeMap.read(
                    part, name: sample.name, deviceSize: sample.deviceSize, options: sample.options)
            else { continue }
            // Lists by hand can't show that they are cut off between two lines.
            if map.format == .ranges, part.last == UInt8(ascii: "\n") { continue }
            var rest = whole.copy()
            let dirty = marked(map, sample)
            try rest.subtract(dirty)
            #expect(rest.dirtyBytes == 0, "\(count) bytes are too few")
        }
    }

    private func marked(_ map: ChangeMap, _ sample: Sample) -> DirtyBitmap {
        var bitmap = DirtyBitmap(size: sample.deviceSize, granularity: .min)
        map.mark(in: &bitmap)
        return bitmap
    }

    @Test(arguments: Sample.all)
    func `a disk one sector smaller is refused`(sample: Sample) {
        // These know no size, and the last thing that they say lies before the end.
        let known: Set<ChangeMapFormat> = [.era, .thinDelta, .thinDump, .ranges]
        guard !known.contains(sample.format), sample.name != "ddrescuelog" else { return }
        expectError(.beyondDevice, sample.name) { () throws(ChangeMapError) in
            try ChangeMap.read(
                sample.bytes, name: sample.name, deviceSize: sample.deviceSize - 512,
                options: sample.options)
        }
    }

    @Test(arguments: Sample.all)
    func `what a larger disk has more counts as changed`(sample: Sample) throws {
        let known: Set<ChangeMapFormat> = [.era, .thinDelta, .thinDump, .ranges]
        guard !known.contains(sample.format), sample.name != "ddrescuelog" else { return }
        let size = sample.deviceSize + 65536
        let map = try ChangeMap.read(
            sample.bytes, name: sample.name, deviceSize: size, options: sample.options)
        #expect(map.extents.last?.range.upperBound == size)
        #expect(map.extents.last?.meaning == .copy)
        #expect(map.warnings.contains { $0.contains("from \(sample.deviceSize) on") })
    }
}

@Suite struct MarkTests {
    @Test func `copy and zero are dirty, skip is clean, and rounding goes outward`() throws {
        let text = """
            0 65536 1 dirty
            65536 131072 0 clean
            196608 512 1 dirty
            197120 65024 0 clean

            """
        let map = try ChangeMap.read(text, size: 262144)
        var bitmap = DirtyBitmap(size: 262144, granularity: .default)
        map.mark(in: &bitmap)
        let dirty = [0, 65536, 131072, 196608].map { bitmap.isDirty(at: $0) }
        #expect(dirty == [true, false, false, true])
        #expect(map.dirtyBytes == 65536 + 512)
    }

    @Test func `what was dirty stays dirty`() throws {
        let map = try ChangeMap.read("0 512\n", size: 65536)
        var bitmap = DirtyBitmap(size: 65536, granularity: .min)
        bitmap.set(65024..<65536)
        map.mark(in: &bitmap)
        #expect(bitmap.dirtyBytes == 1024)
    }

    @Test func `gaps that read as zeros are dirty`() throws {
        let map = try ChangeMap.read(Text.thinDump, .init(thinDevice: 1))
        var bitmap = DirtyBitmap(size: 1 << 24)
        map.mark(in: &bitmap)
        #expect(bitmap.dirtyBytes == 1 << 24)
        #expect(map.dirtyBytes == 1 << 24)
    }
}
