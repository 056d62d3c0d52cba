import Foundation
import RingMirror
import Testing

/// The library as its users see it: public names only, through the one module that they import.
@Suite struct LibraryTests {
    /// Two images in a folder of their own, the source with data and a hole.
    private final class Images {
        let folder: String
        var source: FilePath { FilePath(folder + "/source.img") }
        var target: FilePath { FilePath(folder + "/target.img") }

        static let size = 24 << 20

        init() throws {
            folder = NSTemporaryDirectory() + "ringmirror-library-\(UUID().uuidString)"
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            let path = folder + "/source.img"
            let file = try TestFile(path)
            try file.write(Data((0..<(8 << 20)).map { UInt8($0 % 251) }))
            try file.truncate(to: Self.size)
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        func open() throws -> (StorageDevice, StorageDevice) {
            let source = try StorageDevice.openSource(source)
            let target = try StorageDevice.openTarget(
                target, for: source, options: TargetOptions(create: true))
            return (source, target)
        }
    }

    @Test(.timeLimit(.minutes(20)))
    func `a mirror is made, reported and compared`() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        let job = try MirrorJob.full(from: Disk(source), to: Disk(target))
        let report = await job.run()
        guard case .mirrored = report.outcome else {
            Issue.record("\(report.outcome)")
            return
        }
        #expect(report.planned == Int64(Images.size) && report.done == report.planned)
        #expect(report.flushed && report.failures.isEmpty)
        #expect(job.progress.done == report.done)
        let comparison = await CompareJob(Disk(source), Disk(target)).run()
        #expect(comparison.isIdentical)
    }

    @Test(.timeLimit(.minutes(20)))
    func `a bitmap leads an incremental mirror`() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        let store = try BitmapStore.openOrCreate(
            StorePlace.path(for: source), for: source.identity)
        try store.add("nightly", granularity: try Granularity(bytes: 4096))
        var request = RecordedMirror.Request(.full)
        request.bitmap = "nightly"
        let full = try RecordedMirror.full(
            from: Disk(source), to: Disk(target), request: request, records: .store(store))
        let first = await full.run()
        #expect(first.mirror.outcome.isMirrored && first.recordError == nil)
        #expect(try store.bitmap("nightly").lastSuccess?.mode == .full)

        // The device stays open between the jobs, and what was zero at its making is no longer so.
        do {
            let file = try TestFile(images.source.string)
            try file.write(Data(repeating: 0, count: 4096))
            try file.write(Data(repeating: 7, count: 4096), at: 1 << 20)
        }
        try store.mark("nightly", [0..<4096, 1 << 20..<(1 << 20) + 4096])
        request = RecordedMirror.Request(.incremental)
        request.bitmap = "nightly"
        let mirror = try RecordedMirror.incremental(
            from: Disk(source), to: Disk(target), request: request, records: .store(store))
        #expect(try store.bitmap("nightly").isBusy)
        let report = await mirror.run()
        #expect(
            report.mirror.outcome.isMirrored && report.mirror.planned == 8192,
            "\(report.mirror.outcome)")
        #expect(try store.bitmap("nightly").dirtyBytes == 0)
        #expect(try !store.bitmap("nightly").isBusy)
        let comparison = await CompareJob(Disk(source), Disk(target)).run()
        #expect(comparison.isIdentical)
    }

    @Test(.timeLimit(.minutes(20)))
    func `a disk goes into images that stand on each other`() async throws {
        let images = try Images()
        let base = FilePath(images.folder + "/base.qcow2")
        let overlay = FilePath(images.folder + "/overlay.qcow2")
        let source = try Disk.openSource(images.source)
        do {
            let target = try Disk.openTarget(
                base, for: source, options: TargetOptions(create: true))
            #expect(target.format == "qcow2" && target.geometry.size == Int64(Images.size))
            let report = await (try MirrorJob.full(from: source, to: target)).run()
            #expect(report.outcome.isMirrored)
        }
        do {
            var newImage = NewImageOptions(size: Int64(Images.size))
            newImage.backingFile = "base.qcow2"
            newImage.backingFormat = "qcow2"
            let target = try Disk.openTarget(
                overlay, for: source, newImage: newImage, options: TargetOptions(create: true))
            var dirty = DirtyBitmap(size: Int64(Images.size))
            dirty.set(65536..<131072)
            let job = try MirrorJob.incremental(from: source, to: target, dirty: dirty)
            #expect(await job.run().outcome.isMirrored)
        }
        do {
            let image = try Disk.openSource(overlay)
            #expect(image.image?.layers.count == 2)
            #expect(try Measurement.top(of: image).dataBytes == 65536)
        }
        do {
            let stream = try StreamJob.open(overlay)
            let report = await stream.run()
            #expect(report.mirror.outcome.isMirrored && report.endingError == nil)
        }
        let alone = try Disk.openSource(overlay)
        #expect(alone.image?.layers.count == 1)
        #expect(await CompareJob(source, alone).run().isIdentical)
    }

    @Test(.timeLimit(.minutes(20)))
    func `a map of another tool is a bitmap`() throws {
        let map = try ChangeMap.read(
            Array("0 512\n4096 4096\n".utf8), name: "map", deviceSize: 8192,
            options: ChangeMapOptions(format: .ranges))
        var bitmap = DirtyBitmap(size: 8192, granularity: map.exactGranularity)
        map.mark(in: &bitmap)
        let bytes = bitmap.dirtyBytes
        #expect(bytes == 512 + 4096)
    }

    @Test(.timeLimit(.minutes(20)))
    func `a job can be paused, slowed down, resumed and cancelled`() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        var options = MirrorOptions()
        options.speedLimit = 1 << 20
        options.zeroes = .write
        let job = try MirrorJob.full(from: Disk(source), to: Disk(target), options: options)
        job.pause()
        #expect(job.progress.isPaused)
        async let report = job.run()
        job.setSpeedLimit(1 << 18)
        job.resume()
        while job.progress.done == 0 { try await Task.sleep(for: .milliseconds(5)) }
        job.cancel()
        guard case .cancelled = await report.outcome else {
            Issue.record("not cancelled: \(await report.outcome)")
            return
        }
        #expect(await report.done < Int64(Images.size))
        #expect(await report.flushed)
    }

    /// Watches a job of any kind from its first value to its last.
    private func last(of job: some Job) async -> JobProgress? {
        var last: JobProgress?
        for await progress in job.updates(every: .milliseconds(1)) { last = progress }
        return last
    }

    @Test(.timeLimit(.minutes(20)))
    func `a job of any kind can be watched`() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        let mirror = try MirrorJob.full(from: Disk(source), to: Disk(target))
        async let copied = last(of: mirror)
        #expect(await mirror.run().outcome.isMirrored)
        #expect(await copied?.phase == .ended)
        #expect(await copied?.done == Int64(Images.size))
        let comparison = CompareJob(Disk(source), Disk(target))
        async let compared = last(of: comparison)
        #expect(await comparison.run().isIdentical)
        #expect(await compared?.done == Int64(Images.size))
        let jobs: [any Job] = [mirror, comparison]
        #expect(jobs.map(\.kind) == [.mirror, .comparison])
        for job in jobs {
            #expect(throws: JobVerbError.self) { try job.apply(.cancel) }
        }
    }

    @Test(.timeLimit(.minutes(20)))
    func `zeros that are written as bytes count for the speed limit`() async throws {
        let images = try Images()
        do {
            let file = try TestFile(images.source.string)
            try file.truncate(to: 0)
            try file.truncate(to: Images.size)
        }
        let (source, target) = try images.open()
        var options = MirrorOptions()
        options.speedLimit = 1 << 16
        options.zeroes = .write
        let job = try MirrorJob.full(from: Disk(source), to: Disk(target), options: options)
        async let report = job.run()
        while job.progress.written == 0 { try await Task.sleep(for: .milliseconds(1)) }
        job.cancel()
        #expect(await report.written < Int64(Images.size) / 2)
    }

    @Test(.timeLimit(.minutes(20)))
    func `cancelling the task cancels the job`() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        var options = MirrorOptions()
        options.speedLimit = 1 << 20
        let job = try MirrorJob.full(from: Disk(source), to: Disk(target), options: options)
        let task = Task { await job.run() }
        task.cancel()
        guard case .cancelled = await task.value.outcome else {
            Issue.record("the job went on")
            return
        }
    }

    @Test func `a guard's refusal is a typed error with a remedy`() throws {
        let images = try Images()
        let source = try StorageDevice.openSource(images.source)
        #expect(throws: StorageError.self) {
            try StorageDevice.openTarget(images.source, for: source)
        }
        do {
            _ = try StorageDevice.openTarget(images.target, for: source)
            Issue.record("a missing image was opened")
        } catch {
            #expect(error.category == .refused)
            #expect(error.code == .targetMissing && error.remedy.ways == [.create])
        }
    }
}

extension MirrorOutcome {
    var isMirrored: Bool { if case .mirrored = self { true } else { false } }
}
