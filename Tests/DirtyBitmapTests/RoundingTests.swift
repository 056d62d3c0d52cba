import DirtyBitmap
import TestSupport
import Testing

/// The rules of rounding and of the short last granule, each on a case worked out by hand.
@Suite struct RoundingTests {
    /// Four granules of 512 bytes, the last of them 100 bytes long.
    let size: Int64 = 3 * 512 + 100

    private func bitmap() -> DirtyBitmap { DirtyBitmap(size: size, granularity: .min) }

    @Test func `setting rounds outward`() {
        var bitmap = bitmap()
        bitmap.set(511..<513)
        #expect(bitmap.runs() == [0..<1024])
    }

    @Test func `setting one byte marks its granule only`() {
        var bitmap = bitmap()
        bitmap.set(512..<513)
        #expect(bitmap.runs() == [512..<1024])
        bitmap.set(1535..<1536)
        #expect(bitmap.runs() == [512..<1536])
    }

    @Test func `setting nothing marks nothing`() {
        var bitmap = bitmap()
        for offset in [0, 1, 512, 1000, size] { bitmap.set(offset..<offset) }
        #expect(bitmap.isClean == true)
    }

    @Test func `clearing rounds inward`() {
        var bitmap = bitmap()
        bitmap.setAll()
        bitmap.clear(1..<1535)
        #expect(bitmap.runs() == [0..<512, 1024..<size])
        bitmap.clear(1..<512)
        #expect(bitmap.isDirty(at: 0) == true)
    }

    @Test func `clearing nothing clears nothing`() {
        var bitmap = bitmap()
        bitmap.setAll()
        for offset in [0, 1, 512, 1000, size] { bitmap.clear(offset..<offset) }
        #expect(bitmap.runs() == [0..<size])
    }

    @Test func `clearing to the end takes the short granule`() {
        var bitmap = bitmap()
        bitmap.setAll()
        bitmap.clear(1536..<(size - 1))
        #expect(bitmap.isDirty(at: size - 1) == true)
        bitmap.clear(1537..<size)
        #expect(bitmap.isDirty(at: size - 1) == true)
        bitmap.clear(1536..<size)
        #expect(bitmap.runs() == [0..<1536])
    }

    @Test func `the last granule counts with its real length`() {
        var bitmap = bitmap()
        bitmap.set((size - 1)..<size)
        #expect(bitmap.dirtyCount == 1)
        #expect(bitmap.dirtyBytes == 100)
        bitmap.setAll()
        #expect(bitmap.dirtyCount == 4)
        #expect(bitmap.dirtyBytes == size)
    }

    @Test func `counts within a range are cut to the byte`() {
        var bitmap = bitmap()
        bitmap.set(512..<1024)
        #expect(bitmap.dirtyBytes(in: 0..<size) == 512)
        #expect(bitmap.dirtyBytes(in: 600..<700) == 100)
        #expect(bitmap.dirtyBytes(in: 500..<600) == 88)
        #expect(bitmap.dirtyBytes(in: 1000..<size) == 24)
        #expect(bitmap.dirtyCount(in: 1023..<1025) == 1)
        #expect(bitmap.dirtyCount(in: 1024..<1025) == 0)
    }

    @Test func `inverting leaves nothing behind the end`() {
        for granules in [1, 63, 64, 65, 128] as [Int64] {
            var bitmap = DirtyBitmap(size: granules * 512 - 1, granularity: .min)
            bitmap.invert()
            bitmap.checkInvariants()
            #expect(bitmap.dirtyCount == Int(granules))
            bitmap.invert()
            #expect(bitmap.isClean == true)
        }
    }

    @Test func `an empty disk`() {
        var bitmap = DirtyBitmap(size: 0)
        bitmap.setAll()
        bitmap.invert()
        bitmap.set(0..<0)
        bitmap.clear(0..<0)
        let taken = bitmap.takeDirtyRun(from: 0)
        #expect(taken == nil)
        #expect(bitmap.granuleCount == 0)
        #expect(bitmap.wordCount == 0)
        #expect(bitmap.isClean == true)
        #expect(bitmap.dirtyBytes == 0)
        #expect(bitmap.nextDirty(from: 0) == nil)
        #expect(bitmap.nextClean(from: 0) == nil)
        #expect(bitmap.isFullyDirty(in: 0..<0) == true)
        #expect(bitmap.runs() == [])
        #expect(bitmap.serialized() == [])
    }

    /// The first offset behind the last granule is 2^63 here, which no Int64 can hold. Its words
    /// would take 512 MiB, so the rules are tested without them.
    @Test func `the largest disk there is`() throws {
        let geometry = try BitmapGeometry(size: .max, granularity: .max)
        let granuleBytes: Int64 = 1 << 31
        let last = Int64.max - granuleBytes + 1
        #expect(geometry.granuleCount == 1 << 32)
        #expect(geometry.bytes(ofGranules: (1 << 32 - 1)..<(1 << 32)) == last..<(.max))
        #expect(geometry.granules(touching: 0..<(.max)) == 0..<(1 << 32))
        #expect(geometry.granules(inside: last..<(.max)) == (1 << 32 - 1)..<(1 << 32))
        #expect(geometry.granules(inside: (last + 1)..<(.max)).isEmpty)
        #expect(geometry.granules(touching: (.max - 1)..<(.max)) == (1 << 32 - 1)..<(1 << 32))
    }
}
