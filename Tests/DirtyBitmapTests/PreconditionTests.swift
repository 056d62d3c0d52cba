import DirtyBitmap
import Testing

/// Offsets outside the bitmap are defects of the caller and must stop the program: a mirror that
/// quietly skips a range it was told about is not a mirror.
@Suite struct PreconditionTests {
    @Test func `ranges outside of the disk stop the program`() async {
        await #expect(processExitsWith: .failure) {
            var bitmap = DirtyBitmap(size: 1000)
            bitmap.set(-1..<10)
        }
        await #expect(processExitsWith: .failure) {
            var bitmap = DirtyBitmap(size: 1000)
            bitmap.set(0..<1001)
        }
        await #expect(processExitsWith: .failure) {
            var bitmap = DirtyBitmap(size: 1000)
            bitmap.clear(-512..<10)
        }
        await #expect(processExitsWith: .failure) {
            var bitmap = DirtyBitmap(size: 1000)
            bitmap.clear(1001..<1001)
        }
        await #expect(processExitsWith: .failure) {
            let bitmap = DirtyBitmap(size: 1000)
            _ = bitmap.dirtyBytes(in: 0..<1001)
        }
        await #expect(processExitsWith: .failure) {
            let bitmap = DirtyBitmap(size: 1000)
            bitmap.forEachDirtyRun(in: 0..<1001) { _ in }
        }
    }

    @Test func `offsets outside of the disk stop the program`() async {
        await #expect(processExitsWith: .failure) {
            let bitmap = DirtyBitmap(size: 1000)
            _ = bitmap.isDirty(at: 1000)
        }
        await #expect(processExitsWith: .failure) {
            let bitmap = DirtyBitmap(size: 1000)
            _ = bitmap.isDirty(at: -1)
        }
        await #expect(processExitsWith: .failure) {
            let bitmap = DirtyBitmap(size: 1000)
            _ = bitmap.nextDirty(from: 1001)
        }
        await #expect(processExitsWith: .failure) {
            var bitmap = DirtyBitmap(size: 1000)
            _ = bitmap.takeDirtyRun(from: -1, limit: 1)
        }
    }

    @Test func `useless limits stop the program`() async {
        await #expect(processExitsWith: .failure) {
            let bitmap = DirtyBitmap(size: 1000)
            _ = bitmap.nextDirtyRun(from: 0, limit: 0)
        }
    }

    @Test func `impossible sizes stop the program`() async {
        await #expect(processExitsWith: .failure) { _ = DirtyBitmap(size: -1) }
        await #expect(processExitsWith: .failure) {
            _ = DirtyBitmap(size: .max, granularity: .min)
        }
    }

    @Test func `words outside of the bitmap stop the program`() async {
        await #expect(processExitsWith: .failure) {
            var bytes: [UInt8] = []
            DirtyBitmap(size: 1000).serialize(words: 0..<2, into: &bytes)
        }
        // Not even nothing may be asked for from behind the end.
        await #expect(processExitsWith: .failure) {
            var bytes: [UInt8] = []
            DirtyBitmap(size: 1000).serialize(words: 2..<2, into: &bytes)
        }
    }
}
