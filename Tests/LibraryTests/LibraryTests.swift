import Foundation
import RingMirror
import Testing

/// The library as its users see it: public names only, through the one module that they import.
@Suite("The library from outside")
struct LibraryTests {
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
            #expect(FileManager.default.createFile(atPath: path, contents: nil))
            let file = try #require(FileHandle(forWritingAtPath: path))
            try file.write(contentsOf: Data((0..<(8 << 20)).map { UInt8($0 % 251) }))
            try file.truncate(atOffset: UInt64(Self.size))
            try file.close()
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        func open() throws -> (StorageDevice, StorageDevice) {
            let source = try StorageDevice.openSource(source)
            let target = try StorageDevice.openTarget(
                target, for: source, options: TargetOptions(create: true))
            return (source, target)
        }
    }

    @Test("A mirror is made, reported and compared", .timeLimit(.minutes(1)))
    func mirror() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        let job = try MirrorJob.full(from: source, to: target)
        let report = await job.run()
        guard case .mirrored = report.outcome else {
            Issue.record("\(report.outcome)")
            return
        }
        #expect(report.planned == Int64(Images.size) && report.done == report.planned)
        #expect(report.flushed && report.failures.isEmpty)
        #expect(job.progress.done == report.done)
        let comparison = await CompareJob(source, target).run()
        #expect(comparison.isIdentical)
    }

    @Test("A job can be paused, slowed down, resumed and cancelled", .timeLimit(.minutes(1)))
    func steering() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        var options = MirrorOptions()
        options.speedLimit = 1 << 20
        options.zeroes = .write
        let job = try MirrorJob.full(from: source, to: target, options: options)
        job.pause()
        #expect(job.progress.isPaused)
        async let report = job.run()
        job.setSpeedLimit(2 << 20)
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

    @Test("Cancelling the task cancels the job", .timeLimit(.minutes(1)))
    func taskCancellation() async throws {
        let images = try Images()
        let (source, target) = try images.open()
        var options = MirrorOptions()
        options.speedLimit = 1 << 20
        let job = try MirrorJob.full(from: source, to: target, options: options)
        let task = Task { await job.run() }
        task.cancel()
        guard case .cancelled = await task.value.outcome else {
            Issue.record("the job went on")
            return
        }
    }

    @Test("A guard's refusal is a typed error with a remedy")
    func refusal() throws {
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
            #expect("\(error)".contains("--create"))
        }
    }
}
