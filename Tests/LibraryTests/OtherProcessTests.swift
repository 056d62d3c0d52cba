import Foundation
import RingMirror
import Testing

/// What another process does to the files that a job writes, from their opening to the job's end.
@Suite struct OtherProcessTests {
    typealias Folder = MeanwhileTests.Folder

    /// Runs a command of the shell in a process of its own.
    private func run(_ command: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(command)")
    }

    private func open(_ path: FilePath) throws { try run("exec 3<>'\(path)'") }
    private func write(_ path: FilePath) throws {
        try run("printf x | dd of='\(path)' bs=1 seek=70000 conv=notrunc 2>&1")
    }

    private func isOpenedMeanwhile(_ error: MirrorError?, _ path: FilePath) -> Bool {
        if case .openedMeanwhile(_, let how) = error { how.contains(path.string) } else { false }
    }

    private func mirror(_ folder: Folder, to path: FilePath) throws -> MirrorJob {
        let source = try Disk.openSource(folder.source)
        let target = try Disk.openTarget(path, for: source, options: TargetOptions(create: true))
        return try MirrorJob.full(from: source, to: target)
    }

    /// An image that stands on the overlay, and has 1 MiB of its own.
    private func makeTop(_ path: FilePath, _ folder: Folder) async throws {
        let source = try Disk.openSource(folder.source)
        var newImage = NewImageOptions(size: Int64(MeanwhileTests.size))
        newImage.backingFile = "overlay.qcow2"
        newImage.backingFormat = "qcow2"
        let target = try Disk.openTarget(
            path, for: source, newImage: newImage, options: TargetOptions(create: true))
        var dirty = DirtyBitmap(size: Int64(MeanwhileTests.size))
        dirty.set(1 << 20..<2 << 20)
        let job = try MirrorJob.incremental(from: source, to: target, dirty: dirty)
        #expect(await job.run().outcome.isMirrored)
    }

    @Test func `a job alone tells who had its target open`() throws {
        let folder = try Folder()
        let path = FilePath(folder.path + "/target.img")
        let job = try mirror(folder, to: path)
        try open(path)
        let report = job.runAndWait()
        #expect(report.outcome.isMirrored)
        #expect(report.doubts.map(\.code) == ["targetOpened"])
    }

    /// Each hears of what was done in its own time.
    @Test func `two jobs to one disk`() throws {
        let folder = try Folder()
        let path = FilePath(folder.path + "/target.img")
        let source = try Disk.openSource(folder.source)
        let target = try Disk.openTarget(path, for: source, options: TargetOptions(create: true))
        let first = try MirrorJob.full(from: source, to: target)
        try write(path)
        let failed = first.runAndWait()
        #expect(!failed.outcome.isMirrored)
        let second = try MirrorJob.full(from: source, to: target).runAndWait()
        #expect(second.outcome.isMirrored && second.doubts.isEmpty)
    }

    @Test(arguments: [true, false])
    func `an overlay is not emptied if something else had an image open`(
        base: Bool
    ) async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let image = base ? folder.base : folder.overlay
        do {
            let job = try CommitJob.open(folder.overlay)
            try open(image)
            let report = job.runAndWait()
            #expect(
                isOpenedMeanwhile(report.endingError, image),
                "\(String(describing: report.endingError))")
            #expect(report.claim.kind == .unfinished)
        }
        #expect(try Measurement.top(of: try Disk.openSource(folder.overlay)).dataBytes == 65536)
        let again = try CommitJob.open(folder.overlay).runAndWait()
        #expect(again.claim.kind == .committed && again.claim.evidence.isEmpty)
    }

    @Test func `a stream ends as one that failed if something else had the image open`()
        async throws
    {
        let folder = try Folder()
        try await folder.makeImages()
        let job = try StreamJob.open(folder.overlay)
        try open(folder.overlay)
        let report = job.runAndWait()
        #expect(isOpenedMeanwhile(report.endingError, folder.overlay))
        #expect(report.claim.evidence.map(\.code) == ["targetOpened"])
    }

    @Test func `times of a base that were set are told`() async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let job = try StreamJob.open(folder.overlay)
        try run("chmod 640 '\(folder.base)'")
        let report = job.runAndWait()
        #expect(report.claim.kind == .streamed)
        #expect(report.claim.evidence.map(\.code) == ["sourceTouched"])
    }

    /// Its clusters are filled up with what the base itself stands on.
    @Test func `what is written below a base ends a commit`() async throws {
        let folder = try Folder()
        try await folder.makeImages()
        let top = FilePath(folder.path + "/top.qcow2")
        try await makeTop(top, folder)
        do {
            let job = try CommitJob.open(top)
            try write(folder.base)
            let error = job.runAndWait().endingError
            guard case .writtenMeanwhile(folder.base, _)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        #expect(try Measurement.top(of: try Disk.openSource(top)).dataBytes > 0)
    }

    /// The bitmap may be inside an image as well as in a store.
    @Test func `bitmaps inside a target that something else has open have all of it`()
        async throws
    {
        let folder = try Folder()
        try await folder.makeImages()
        do {
            let base = try Disk.openSource(folder.base, changesBitmaps: true)
            try base.changeBitmaps(heardBy: nil) { (bitmaps) throws(StorageError) in
                try bitmaps.add("n")
            }
        }
        do {
            let job = try CommitJob.open(folder.overlay)
            try open(folder.base)
            #expect(!job.runAndWait().mirror.outcome.isMirrored)
        }
        let base = try Disk.openSource(folder.base)
        let bits = try base.bitmaps?.load("n")
        #expect(bits?.dirtyBytes == Int64(MeanwhileTests.size))
    }

    /// What was written there, and where, is not known.
    @Test func `bitmaps of a target that something else has written have all of it`() throws {
        let folder = try Folder()
        let path = try folder.copy(of: folder.source, "target.img")
        let source = try Disk.openSource(folder.source)
        let target = try Disk.openTarget(
            path, for: source, options: TargetOptions(overwrite: true))
        let store = try BitmapStore.openOrCreate(
            StorePlace.path(for: target), for: target.identity)
        try store.add("n", granularity: try Granularity(bytes: 65536))
        var dirty = DirtyBitmap(size: Int64(MeanwhileTests.size))
        dirty.set(0..<65536)
        let job = try MirrorJob.incremental(from: source, to: target, dirty: dirty)
        try write(path)
        #expect(!job.runAndWait().outcome.isMirrored)
        #expect(try store.bitmap("n").dirtyBytes == Int64(MeanwhileTests.size))
    }
}
