import Foundation
import RingMirror
import Testing

/// What happens between the beginning of a job and its end is seen before the end is called good.
///
/// A job looks at its files when it is made, so that what a test does between that and the run is
/// what another program does meanwhile.
@Suite struct MeanwhileTests {
    static let size = 4 << 20

    /// A folder with a base and an overlay that has 64 KiB of its own.
    final class Folder {
        let path = NSTemporaryDirectory() + "ringmirror-meanwhile-\(UUID().uuidString)"
        var source: FilePath { FilePath(path + "/source.img") }
        var base: FilePath { FilePath(path + "/base.qcow2") }
        var overlay: FilePath { FilePath(path + "/overlay.qcow2") }

        init() throws {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
            let bytes = Data((0..<MeanwhileTests.size).map { UInt8($0 % 251) })
            try TestFile(source.string).write(bytes)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func copy(of original: FilePath, _ name: String) throws -> FilePath {
            let copy = FilePath(path + "/" + name)
            try FileManager.default.copyItem(atPath: original.string, toPath: copy.string)
            return copy
        }

        func makeImages() async throws {
            let source = try Disk.openSource(source)
            do {
                let target = try Disk.openTarget(
                    base, for: source, options: TargetOptions(create: true))
                let job = try MirrorJob.full(from: source, to: target)
                #expect(await job.run().outcome.isMirrored)
            }
            var newImage = NewImageOptions(size: Int64(MeanwhileTests.size))
            newImage.backingFile = "base.qcow2"
            newImage.backingFormat = "qcow2"
            let target = try Disk.openTarget(
                overlay, for: source, newImage: newImage, options: TargetOptions(create: true))
            var dirty = DirtyBitmap(size: Int64(MeanwhileTests.size))
            dirty.set(65536..<131072)
            let job = try MirrorJob.incremental(from: source, to: target, dirty: dirty)
            #expect(await job.run().outcome.isMirrored)
        }
    }

    /// What another program does to a file.
    enum Disturbance: CaseIterable {
        case rewrite, grow, shrink

        func happen(to path: FilePath) throws {
            let file = try TestFile(path.string)
            switch self {
            case .rewrite: try file.write(Data([try file.byte(at: 0)]))
            case .grow: try file.truncate(to: try file.size() + 512)
            case .shrink: try file.truncate(to: try file.size() - 512)
            }
        }
    }

    private func isWrittenMeanwhile(_ error: MirrorError?, _ path: FilePath) -> Bool {
        if case .writtenMeanwhile(path, _) = error { true } else { false }
    }

    @Test(arguments: [true, false], [Disturbance.rewrite, .grow])
    func `two sides are not called identical when one was written`(
        first: Bool, disturbance: Disturbance
    ) throws {
        let folder = try Folder()
        let other = try folder.copy(of: folder.source, "other.img")
        let job = CompareJob(try Disk.openSource(folder.source), try Disk.openSource(other))
        let written = first ? folder.source : other
        try disturbance.happen(to: written)
        let report = job.runAndWait()
        #expect(!report.isIdentical)
        #expect(isWrittenMeanwhile(report.error, written), "\(String(describing: report.error))")
        let again = CompareJob(try Disk.openSource(other), try Disk.openSource(other))
        #expect(again.runAndWait().isIdentical)
    }

    @Test func `two sides are identical whatever their files are named`() throws {
        let folder = try Folder()
        let other = try folder.copy(of: folder.source, "other.img")
        let job = CompareJob(try Disk.openSource(folder.source), try Disk.openSource(other))
        try FileManager.default.moveItem(atPath: other.string, toPath: other.string + ".moved")
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o600], ofItemAtPath: folder.source.string)
        #expect(job.runAndWait().isIdentical)
    }

    @Test func `by name they are not, if a name leads elsewhere`() throws {
        let folder = try Folder()
        let other = try folder.copy(of: folder.source, "other.img")
        let job = CompareJob(
            try Disk.openSource(folder.source), try Disk.openSource(other), isByName: true)
        try FileManager.default.moveItem(atPath: other.string, toPath: other.string + ".moved")
        let report = job.runAndWait()
        #expect(!report.isIdentical)
        guard case .movedMeanwhile? = report.error else {
            Issue.record("\(String(describing: report.error))")
            return
        }
    }

    @Test func `a difference is one though a side was written`() throws {
        let folder = try Folder()
        let other = try folder.copy(of: folder.source, "other.img")
        do { try TestFile(other.string).write(Data([0xff]), at: 70_000) }
        let job = CompareJob(try Disk.openSource(folder.source), try Disk.openSource(other))
        try Disturbance.rewrite.happen(to: folder.source)
        let report = job.runAndWait()
        #expect(report.error == nil && report.firstDifference == 70_000)
        #expect(isWrittenMeanwhile(report.disturbance, folder.source))
    }

    @Test func `a base that was written is not let go of`() async throws {
        let folder = try Folder()
        try await folder.makeImages()
        do {
            let job = try StreamJob.open(folder.overlay)
            try Disturbance.rewrite.happen(to: folder.base)
            let report = job.runAndWait()
            #expect(isWrittenMeanwhile(report.endingError, folder.base))
            #expect(!report.mirror.outcome.isMirrored)
        }
        #expect(try Disk.openSource(folder.overlay).image?.layers.count == 2)
        do {
            let report = try StreamJob.open(folder.overlay).runAndWait()
            #expect(report.endingError == nil && report.mirror.outcome.isMirrored)
        }
        #expect(try Disk.openSource(folder.overlay).image?.layers.count == 1)
    }

    @Test func `an overlay that was written is not emptied`() async throws {
        let folder = try Folder()
        try await folder.makeImages()
        do {
            let job = try CommitJob.open(folder.overlay)
            try Disturbance.rewrite.happen(to: folder.overlay)
            let report = job.runAndWait()
            #expect(isWrittenMeanwhile(report.endingError, folder.overlay))
            #expect(!report.mirror.outcome.isMirrored)
        }
        #expect(try ownBytes(folder.overlay) == 65536)
        let report = try CommitJob.open(folder.overlay).runAndWait()
        #expect(report.endingError == nil && report.mirror.outcome.isMirrored)
        #expect(try ownBytes(folder.overlay) == 0)
    }

    /// Whatever is done to the name of an image that a job changes.
    enum Move: CaseIterable {
        case unlink, replace

        func happen(to path: FilePath) throws {
            let manager = FileManager.default
            switch self {
            case .unlink: try manager.removeItem(atPath: path.string)
            case .replace:
                try manager.copyItem(atPath: path.string, toPath: path.string + ".new")
                #expect(rename(path.string + ".new", path.string) == 0)
            }
        }
    }

    private func isMovedMeanwhile(_ error: MirrorError?, _ path: FilePath) -> Bool {
        if case .movedMeanwhile(path) = error { true } else { false }
    }

    @Test(arguments: Move.allCases)
    func `an image that is not where it was is not finished`(move: Move) async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let job = try StreamJob.open(folder.overlay)
        try move.happen(to: folder.overlay)
        let report = job.runAndWait()
        #expect(isMovedMeanwhile(report.endingError, folder.overlay))
        #expect(!report.mirror.outcome.isMirrored)
    }

    @Test(arguments: Move.allCases, [true, false])
    func `a base that is not where it was has nothing committed`(
        move: Move, base: Bool
    ) async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let kept = try folder.copy(of: folder.overlay, "kept.qcow2")
        let job = try CommitJob.open(folder.overlay)
        try move.happen(to: base ? folder.base : folder.overlay)
        let report = job.runAndWait()
        #expect(report.endingError != nil && !report.mirror.outcome.isMirrored)
        guard base else { return }
        // All that the overlay had it still has.
        let bytes = try Data(contentsOf: URL(fileURLWithPath: kept.string))
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.overlay.string)) == bytes)
    }

    @Test func `the bitmaps of a base hear of what is committed to it`() async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let path: FilePath
        do {
            let base = try Disk.openSource(folder.base)
            path = StorePlace.path(for: base)
            let store = try BitmapStore.openOrCreate(path, for: base.identity)
            try store.add("n", granularity: try Granularity(bytes: 65536))
        }
        let report = try CommitJob.open(folder.overlay).runAndWait()
        #expect(report.mirror.outcome.isMirrored && report.mirror.markedBitmaps == ["n"])
        let base = try Disk.openSource(folder.base)
        let store = try BitmapStore.open(path, for: base.identity, access: .readOnly)
        #expect(try store.bitmap("n").dirtyBytes == 65536)
    }

    /// A job on such a bitmap may take the marks before all of that is written.
    @Test func `what is written is marked before and after`() async throws {
        let folder = try Folder()
        let other = try folder.copy(of: folder.source, "other.img")
        let source = try Disk.openSource(folder.source)
        let target = try Disk.openTarget(
            other, for: source, options: TargetOptions(overwrite: true))
        let store = try BitmapStore.openOrCreate(
            StorePlace.path(for: target), for: target.identity)
        try store.add("n", granularity: try Granularity(bytes: 65536))
        let job = try MirrorJob.full(from: source, to: target)
        job.pause()
        async let report = job.run()
        while try store.bitmap("n").dirtyBytes == 0 { try await Task.sleep(for: .milliseconds(5)) }
        try store.clear("n")
        job.resume()
        let end = await report
        #expect(end.outcome.isMirrored && end.markedBitmaps == ["n"])
        #expect(try store.bitmap("n").dirtyBytes == Int64(Self.size))
    }

    @Test func `nothing is committed past bitmaps that can't be marked`() async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let path = StorePlace.path(for: try Disk.openSource(folder.base))
        try TestFile(path.string).write(Data(repeating: 7, count: 70_000))
        let before = try Data(contentsOf: URL(fileURLWithPath: folder.base.string))
        let error = #expect(throws: MirrorError.self) { _ = try CommitJob.open(folder.overlay) }
        guard case .store = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.base.string)) == before)
        #expect(try ownBytes(folder.overlay) == 65536)
    }

    private func ownBytes(_ path: FilePath) throws -> Int64 {
        try Measurement.top(of: try Disk.openSource(path)).dataBytes
    }
}
