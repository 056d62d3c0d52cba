import DirtyBitmap
import Testing

@testable import MirrorEngine

/// What a failed job may clear of the bitmap that it worked on.
@Suite struct TakenBitmapTests {
    private static let size: Int64 = 1 << 20

    private func bitmap(
        _ granularity: Int64, _ dirty: Range<Int64>...
    ) throws -> DirtyBitmap {
        var bitmap = DirtyBitmap(size: Self.size, granularity: try Granularity(bytes: granularity))
        for range in dirty { bitmap.set(range) }
        return bitmap
    }

    /// A granule that is undone in part stays, however fine that part is; and nothing that was not
    /// dirty is called done.
    @Test(arguments: [4096, 64 << 10, 256 << 10] as [Int64])
    func keepsWhatIsUndoneInPart(undoneGranularity: Int64) throws {
        let bits = try bitmap(64 << 10, 0..<(256 << 10), (512 << 10)..<(768 << 10))
        let undone = try bitmap(undoneGranularity, (100 << 10)..<(104 << 10))
        guard let done = TakenBitmap.done(of: bits, without: undone) else {
            Issue.record("the sizes are the same")
            return
        }
        var found: [Range<Int64>] = []
        done.forEachDirtyRun { found.append($0) }
        let first: [Range<Int64>] =
            undoneGranularity > 64 << 10 ? [] : [0..<(64 << 10), (128 << 10)..<(256 << 10)]
        #expect(found == first + [(512 << 10)..<(768 << 10)])
    }

    @Test func clearsNothingForAnotherDisk() throws {
        let bits = try bitmap(64 << 10, 0..<(256 << 10))
        let other = DirtyBitmap(size: Self.size * 2)
        let isNothing = TakenBitmap.done(of: bits, without: other) == nil
        #expect(isNothing)
    }
}
