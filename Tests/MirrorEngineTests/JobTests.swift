import BlockStorage
import DirtyBitmap
import Foundation
import Logging
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import MirrorEngine

/// What all jobs have in common, on files.
@Suite(.timeLimit(.minutes(20))) struct JobTests {
    /// Large enough that a comparison which is stopped at its first byte can't be done by then.
    private static let size = 16 << 20
    private static let verbs: [JobVerb] = [.pause, .resume, .cancel, .complete, .setSpeed(1)]

    /// Looks at a job from inside of it: whenever its source is asked something, and when it logs.
    final class Observer: Sendable {
        private let look = Mutex<(@Sendable () -> Void)?>(nil)

        func onLook(_ body: @escaping @Sendable () -> Void) { look.withLock { $0 = body } }
        func touch() { look.withLock { $0 }?() }

        var logger: Logger {
            var logger = Logger(label: "jobs") { _ in Handler(observer: self) }
            logger.logLevel = .trace
            return logger
        }

        private struct Handler: LogHandler {
            let observer: Observer
            var metadata: Logger.Metadata = [:]
            var logLevel = Logger.Level.trace

            subscript(metadataKey key: String) -> Logger.Metadata.Value? {
                get { metadata[key] }
                set { metadata[key] = newValue }
            }

            func log(event: LogEvent) { observer.touch() }
        }
    }

    /// The same map, with somebody who looks on.
    private struct ObservedMap: SourceMap {
        let map: any SourceMap
        let observer: Observer

        var name: String { map.name }
        var size: Int64 { map.size }
        var endpoints: [Endpoint] { map.endpoints }
        var alignment: Int { map.alignment }
        var unit: Int64 { map.unit }
        var compressedLengthMax: Int { map.compressedLengthMax }
        func sizeChange() throws(StorageError) -> SizeChange? { try map.sizeChange() }
        func content(at offset: Int64) throws(StorageError) -> StorageExtent {
            observer.touch()
            return try map.content(at: offset)
        }
        func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
            try map.locate(at: offset, limit: limit)
        }
    }

    /// A source with data, and a target that is made for it.
    private struct Sides {
        let scratch: Scratch
        let source, target: Disk

        init(_ observer: Observer? = nil) throws {
            scratch = try Scratch()
            let path = scratch.path("source")
            let bytes = Data((0..<JobTests.size).map { UInt8(truncatingIfNeeded: $0 % 251) })
            try bytes.write(to: URL(fileURLWithPath: path))
            let source = try Disk.openSource(FilePath(path))
            target = try Disk.openTarget(
                FilePath(scratch.path("target")), for: source,
                options: TargetOptions(create: true))
            self.source = observer.map { Self.observed(source, $0) } ?? source
        }

        private static func observed(_ disk: Disk, _ observer: Observer) -> Disk {
            Disk(
                path: disk.path, format: disk.format, access: disk.access,
                geometry: disk.geometry, identity: disk.identity, caching: disk.caching,
                resolvedPath: disk.resolvedPath, devices: disk.devices,
                sourceMap: { ObservedMap(map: disk.sourceMap(size: $0), observer: observer) },
                targetMap: nil)
        }

        var store: FilePath { FilePath(scratch.path("store")) }

        func recorded(
            _ verification: MirrorVerification, _ logger: Logger? = nil
        ) throws -> RecordedMirror {
            var request = RecordedMirror.Request(.full)
            request.verification = verification
            return try RecordedMirror.full(
                from: source, to: target, request: request, records: .path(store),
                logger: logger)
        }

        /// A job of which `ending` is what follows the copying.
        func imageJob(
            _ kind: JobKind, ending: @escaping @Sendable () throws(StorageError) -> Void
        ) throws -> ImageJob {
            var working = DirtyBitmap(size: source.geometry.size)
            working.setAll()
            let plan = ImageJobPlan(
                kind: kind, source: source, target: target, working: working,
                ending: ImageJob.Ending(
                    watch: WriteWatch(source.devices), places: [target.device], kept: source,
                    writtenFiles: 0, droppedFiles: 0, run: ending))
            return try ImageJob(plan, options: MirrorOptions(), logger: nil)
        }
    }

    /// All phases that were seen, in order and without repetitions.
    final class Phases: Sendable {
        private let seen = Mutex<[JobPhase]>([])
        var all: [JobPhase] { seen.withLock { $0 } }
        func add(_ phase: JobPhase) {
            seen.withLock { if $0.last != phase { $0.append(phase) } }
        }
    }

    private func refusal(of verb: JobVerb, by job: some Job) -> JobVerbError? {
        do throws(JobVerbError) {
            try job.apply(verb)
            return nil
        } catch {
            return error
        }
    }

    @Test func `each kind has its verbs`() {
        let all = Set(Self.verbs)
        let expected: [JobKind: Set<JobVerb>] = [
            .live: all, .mirror: all.subtracting([.complete]), .comparison: [.cancel],
            .stream: all.subtracting([.complete]), .commit: all.subtracting([.complete]),
        ]
        for kind in JobKind.allCases {
            #expect(Set(Self.verbs.filter(kind.allows)) == expected[kind], "\(kind)")
        }
    }

    @Test func `jobs are told apart, and a job from its copying is not`() throws {
        let sides = try Sides()
        let comparison = CompareJob(sides.source, sides.target)
        let image = try sides.imageJob(.stream) {}
        let mirror = try MirrorJob.full(from: sides.source, to: sides.target)
        let recorded = try sides.recorded(.none)
        let jobs: [any Job] = [comparison, image, mirror, recorded]
        #expect(Set(jobs.map(\.id)).count == jobs.count)
        #expect(jobs.map(\.kind) == [.comparison, .stream, .mirror, .mirror])
        #expect(jobs.allSatisfy { $0.phase == .created && $0.progress.phase == .created })
        #expect(image.id == image.job.id && recorded.id == recorded.job.id)
    }

    @Test func `a comparison can be stopped, and nothing else`() throws {
        let sides = try Sides()
        let job = CompareJob(sides.source, sides.target)
        for verb in Self.verbs where verb != .cancel {
            #expect(
                refusal(of: verb, by: job)
                    == JobVerbError(verb: verb, phase: .created, kind: .comparison))
        }
        #expect(
            refusal(of: .pause, by: job)?.description == "a comparison can't be paused")
        #expect(refusal(of: .cancel, by: job) == nil)
        guard case .cancelled? = job.runAndWait().error else {
            Issue.record("not cancelled")
            return
        }
        #expect(job.phase == .ended)
        #expect(refusal(of: .cancel, by: job) == JobVerbError(verb: .cancel, phase: .ended))
    }

    @Test func `the phase of a recorded mirror is true from its making to its end`() throws {
        let observer = Observer()
        let sides = try Sides(observer)
        let mirror = try sides.recorded(.all, observer.logger)
        let phases = Phases()
        phases.add(mirror.phase)
        observer.onLook { phases.add(mirror.phase) }
        // What can't be read as a store is noticed, and logged, when the end is recorded.
        try Data(repeating: 1, count: 8192).write(
            to: URL(fileURLWithPath: sides.store.string))
        let report = mirror.runAndWait()
        phases.add(mirror.phase)
        #expect(report.mirror.outcome.isMirrored && report.comparison?.isIdentical == true)
        #expect(phases.all == [.created, .running, .verifying, .settling, .ended])
        let progress = mirror.progress
        #expect(progress.phase == .ended && progress.activity == .verifying)
        #expect(progress.planned == Int64(Self.size) && progress.done == progress.planned)
        #expect(mirror.job.phase == .ended)
    }

    @Test func `a mirror that fails settles, too`() throws {
        let observer = Observer()
        let sides = try Sides(observer)
        let mirror = try sides.recorded(.all, observer.logger)
        let phases = Phases()
        observer.onLook { phases.add(mirror.phase) }
        try Data(repeating: 1, count: 8192).write(
            to: URL(fileURLWithPath: sides.store.string))
        mirror.cancel()
        #expect(mirror.runAndWait().mirror.outcome.isCancelled)
        #expect(phases.all.last == .settling && mirror.phase == .ended)
        #expect(!phases.all.contains(.verifying))
    }

    @Test func `a verification can't be paused, and the mirror goes on`() throws {
        let observer = Observer()
        let sides = try Sides(observer)
        let mirror = try sides.recorded(.copied)
        let refusals = Mutex<Set<JobVerbError>>([])
        let verbs: [JobVerb] = [.pause, .resume, .complete, .setSpeed(1)]
        observer.onLook {
            guard mirror.phase == .verifying else { return }
            for verb in verbs {
                do throws(JobVerbError) { try mirror.apply(verb) } catch {
                    refusals.withLock { _ = $0.insert(error) }
                }
            }
            // What has no way to refuse has no effect.
            mirror.job.pause()
        }
        let report = mirror.runAndWait()
        #expect(report.mirror.outcome.isMirrored && report.comparison?.isIdentical == true)
        let expected = Set(
            verbs.map {
                JobVerbError(
                    verb: $0, phase: .verifying, kind: $0 == .complete ? .mirror : nil)
            })
        #expect(refusals.withLock { $0 } == expected)
    }

    @Test(arguments: [false, true])
    func `a verification can be stopped`(byItsCopying: Bool) throws {
        let observer = Observer()
        let sides = try Sides(observer)
        let mirror = try sides.recorded(.all)
        observer.onLook {
            guard mirror.phase == .verifying else { return }
            if byItsCopying { mirror.job.cancel() } else { try? mirror.apply(.cancel) }
        }
        let report = mirror.runAndWait()
        #expect(report.mirror.outcome.isCancelled && mirror.phase == .ended)
        guard case .cancelled? = report.comparison?.error else {
            Issue.record("\(String(describing: report.comparison?.error))")
            return
        }
    }

    @Test(arguments: [JobKind.stream, .commit], [false, true])
    func `an image job settles what follows its copying`(kind: JobKind, fails: Bool) throws {
        let sides = try Sides()
        let job = Mutex<ImageJob?>(nil)
        let phases = Phases()
        let image = try sides.imageJob(kind) { () throws(StorageError) in
            if let job = job.withLock({ $0 }) { phases.add(job.phase) }
            if fails { throw .notFound(path: FilePath("nowhere")) }
        }
        job.withLock { $0 = image }
        let report = image.runAndWait()
        job.withLock { $0 = nil }
        #expect(phases.all == [.settling] && image.phase == .ended)
        #expect(report.mirror.outcome.isMirrored == !fails)
        #expect((report.endingError != nil) == fails)
        let success: MirrorClaim.Kind = kind == .stream ? .streamed : .committed
        #expect(report.claim.kind == (fails ? .unfinished : success))
        #expect(
            refusal(of: .complete, by: image)
                == JobVerbError(verb: .complete, phase: .ended, kind: kind))
    }

    @Test func `updates end with the end of the job`() async throws {
        let sides = try Sides()
        let mirror = try sides.recorded(.all)
        async let report = mirror.run()
        var values: [JobProgress] = []
        for await progress in mirror.updates(every: .milliseconds(1)) { values.append(progress) }
        #expect(await report.mirror.outcome.isMirrored)
        #expect(values.dropLast().allSatisfy { $0.phase != .ended })
        let last = try #require(values.last)
        #expect(last.phase == .ended && last.done == last.planned)
        // Afterwards there is one thing left to say.
        var later = 0
        for await progress in mirror.updates() {
            later += 1
            #expect(progress.phase == .ended)
        }
        #expect(later == 1)
    }

    @Test func `who waits for updates can be stopped, and the job is not`() async throws {
        let sides = try Sides()
        let job = try MirrorJob.full(from: sides.source, to: sides.target)
        let watcher = Task {
            var count = 0
            for await progress in job.updates(every: .seconds(3600)) {
                count += progress.phase == .created ? 1 : 100
            }
            return count
        }
        watcher.cancel()
        #expect(await watcher.value == 1)
        #expect(await job.run().outcome.isMirrored)
    }
}
