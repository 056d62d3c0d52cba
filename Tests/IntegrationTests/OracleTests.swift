import Foundation
import Glibc
import RingMirror
import TestSupport
import Testing

extension Integration {
    /// What a bitmap has after a job that went well, was cancelled, or failed, against sets that
    /// are worked out by hand; and that a second job always mends what the first one left.
    ///
    /// Four groups of writes overlap each other at all edges of granules: G0 before the first
    /// mirror, G1 before the job under test, G2 during it, G3 before the second job.
    @Suite(
        .serialized, .enabled(if: Needs.fuse, Needs.fuseReason), .timeLimit(.minutes(20)))
    struct Oracle {
        static let size = 64 * miB
        static let granule = 64 * kiB

        /// How the first job ends. All of it happens while the flush at its end hangs.
        enum Ending: CaseIterable {
            case good
            /// Cancelled when the last granule has been copied and is being flushed. That is too
            /// late: what is complete and flushed is a mirror, whoever wanted to stop it meanwhile.
            case cancelledAtEnd
            /// Nothing is known to be on the target then, though all of it was written.
            case flushFails
            /// One request of one granule is in flight, so that one granule is copied.
            case secondReadFails

            var isSuccess: Bool { self == .good || self == .cancelledAtEnd }
        }

        struct Case: CustomTestStringConvertible {
            let mode: JobMode
            let bitmapMode: BitmapMode
            var ending = Ending.good

            var testDescription: String { "\(mode) \(bitmapMode.rawValue) \(ending)" }

            /// A full mirror does nothing with a bitmap that it never clears, and is refused.
            static let all: [Case] = [JobMode.incremental, .full].flatMap { mode in
                [BitmapMode.onSuccess, .never, .always].flatMap { bitmapMode in
                    Ending.allCases.map { Case(mode: mode, bitmapMode: bitmapMode, ending: $0) }
                }
            }.filter { $0.mode != .full || $0.bitmapMode != .never }

            static let killed = all.filter { $0.ending == .good }

            /// What the bitmap has when the job is over.
            var expected: Set<Int64> {
                let (first, during) = (Group.g1.granules, Group.g2.granules)
                switch (bitmapMode, ending) {
                case (.never, _): return first.union(during)
                case (_, .good), (_, .cancelledAtEnd): return during
                case (.onSuccess, _): return first.union(during)
                case (.always, .flushFails): return first.union(during)
                case (.always, .secondReadFails): return first.subtracting([0]).union(during)
                }
            }

            /// What the target lacks then: of a full mirror that failed and whose progress counts,
            /// all that is not known to be on it.
            var lacked: Set<Int64> {
                guard mode == .full, bitmapMode == .always, !ending.isSuccess else {
                    return expected
                }
                let everything = Set(0..<Oracle.size / Oracle.granule)
                return ending == .flushFails ? everything : everything.subtracting([0])
            }
        }

        struct Group {
            let seed: UInt64
            let ranges: [Range<Int64>]

            /// Each write begins at an offset in KiB and is as many times 64 KiB long.
            init(_ seed: UInt64, _ writes: [(offset: Int64, count: Int64)]) {
                self.seed = seed
                ranges = writes.map { $0.offset * kiB..<($0.offset + 64 * $0.count) * kiB }
            }

            var granules: Set<Int64> {
                Set(
                    ranges.flatMap {
                        $0.lowerBound / Oracle.granule...($0.upperBound - 1) / Oracle.granule
                    })
            }

            static let g0 = Group(40, [(0, 1), (1024, 1), (32768, 1), (65536 - 64, 1)])
            static let g1 = Group(41, [(0, 1), (1024 - 32, 1), (32768 + 32, 1), (65536 - 128, 1)])
            static let g2 = Group(42, [(64, 1), (928, 1), (32768 + 96, 1), (65536 - 128, 2)])
            static let g3 = Group(43, [(64, 3), (864, 1), (32768 + 160, 1), (65536 - 256, 1)])
        }

        @Test func `the groups are as large as they should be`() {
            let counts = [Group.g1, .g2, .g3].map(\.granules.count)
            #expect(counts == [6, 7, 8])
            #expect(Group.g1.granules == [0, 15, 16, 512, 513, 1022])
            #expect(Group.g1.granules.union(Group.g2.granules).count == 10)
        }

        @Test(arguments: Case.all)
        func `the bitmap after a job, and the job that mends it`(test: Case) throws {
            let rig = try OracleRig(sourceFails: test.ending == .secondReadFails)
            try rig.prepare()
            try rig.target.set(.hang)
            if test.ending == .secondReadFails {
                let second = test.mode == .full ? 1 : Group.g1.granules.sorted()[1]
                try rig.failingSource?.set(.read, at: second * Self.granule)
            }
            let report = try rig.run(test.mode, test.bitmapMode) { job in
                #expect(try rig.dirty() == Group.g1.granules, "it must not change during the job")
                try rig.write(.g2)
                #expect(try rig.dirty() == Group.g1.granules.union(Group.g2.granules))
                #expect(throws: BitmapStoreError.self) { try rig.store.clear("b") }
                if test.ending == .cancelledAtEnd { job.cancel() }
                if test.ending == .flushFails { try rig.target.set(.flush) }
            }
            switch report.mirror.outcome {
            case .mirrored: #expect(test.ending.isSuccess)
            default: #expect(!test.ending.isSuccess, "\(report.mirror.outcome)")
            }
            #expect(report.recordError == nil)
            #expect(report.mirror.planned == rig.planned(test.mode))
            #expect(try rig.dirty() == test.expected)
            // Of G2 the target has nothing yet, and of G1 what was copied.
            if test.ending == .secondReadFails {
                let copied = try Content.read(rig.reference(1), 0..<Self.granule)
                try rig.overwrite(rig.reference(0), with: copied)
                expectSame(rig.target.image, rig.reference(0))
            } else {
                expectSame(rig.target.image, rig.reference(1))
            }
            try rig.mend(expecting: test.expected, lacking: test.lacked)
        }

        /// The process dies when everything is copied and nothing of that is recorded: then nothing
        /// was copied, in any mode.
        @Test(arguments: Case.killed)
        func `a job that is killed before its end`(test: Case) throws {
            let rig = try OracleRig(sourceFails: false)
            try rig.prepare()
            try rig.target.set(.hang)
            let child = try rig.scratch.start(
                [
                    test.mode.rawValue, rig.source, rig.target.path, "--bitmap", "b",
                    "--bitmap-mode", test.bitmapMode.rawValue, "--bitmaps", rig.store.path.string,
                    "--checkpoint", "0",
                ] + (test.mode == .full ? ["--overwrite"] : []))
            #expect(rig.target.waitForFlush(), "\(child.errors)")
            try rig.write(.g2)
            // It ends when the kernel has its answer, and runs nothing more until then.
            child.send(SIGKILL)
            rig.target.heal(.hang)
            #expect(try child.wait().signal == SIGKILL)
            expectSame(rig.target.image, rig.reference(1))
            let isWhole = test.mode == .full && test.bitmapMode == .always
            let expected = Group.g1.granules.union(Group.g2.granules)
            #expect(try rig.dirty() == expected)
            try rig.mend(
                expecting: expected,
                lacking: isWhole ? Set(0..<Self.size / Self.granule) : expected)
        }

        @Test func `a full mirror that never clears its bitmap is refused`() throws {
            let rig = try OracleRig(sourceFails: false)
            try rig.prepare()
            do {
                _ = try rig.run(.full, .never)
                Issue.record("it was not refused")
            } catch MirrorError.invalidOption {
                #expect(try rig.dirty() == Group.g1.granules)
                expectSame(rig.target.image, rig.reference(0))
            }
        }
    }
}

/// Two disks, a store, and the four groups of writes.
private final class OracleRig {
    let scratch: Scratch
    let failingSource: NBDDisk?
    /// What is mirrored and its image, which are the same if it can't fail.
    let source: String
    let sourceImage: String
    let target: NBDDisk
    let store: BitmapStore
    private var hasBitmap = false

    init(sourceFails: Bool) throws {
        let scratch = try Scratch()
        self.scratch = scratch
        sourceImage = try scratch.file("source", size: Integration.Oracle.size)
        failingSource = sourceFails ? try NBDDisk.failing(sourceImage, in: scratch) : nil
        source = failingSource?.path ?? sourceImage
        target = try NBDDisk.failing(
            scratch.file("target", size: Integration.Oracle.size), in: scratch)
        store = try BitmapStore.openOrCreate(
            FilePath(scratch.path("store")), for: Self.open(source).identity)
    }

    private static func open(_ path: String) throws -> StorageDevice {
        try StorageDevice.openSource(FilePath(path))
    }

    /// A copy of the source as it was after a group.
    func reference(_ number: Int) -> String { scratch.path("reference-\(number)") }

    /// Writes a group, and marks it as whoever tracks the source would.
    func write(_ group: Integration.Oracle.Group) throws {
        for range in group.ranges { try Content.write(group.seed, to: source, range) }
        if hasBitmap { try store.mark("b", group.ranges) }
    }

    /// G0, a full mirror, a bitmap, and G1.
    func prepare() throws {
        try write(.g0)
        try Shell.run("cp", sourceImage, reference(0))
        guard case .mirrored = try run(.full, nil).mirror.outcome else {
            Issue.record("the first mirror failed")
            return
        }
        expectSame(sourceImage, target.image)
        try store.add("b")
        hasBitmap = true
        try write(.g1)
        try Shell.run("cp", sourceImage, reference(1))
        #expect(try dirty() == Integration.Oracle.Group.g1.granules)
    }

    func dirty() throws -> Set<Int64> {
        let bits = try store.load("b")
        var result: Set<Int64> = []
        for granule in 0..<Integration.Oracle.size / Integration.Oracle.granule
        where bits.isDirty(at: granule * Integration.Oracle.granule) {
            result.insert(granule)
        }
        return result
    }

    func planned(_ mode: JobMode) -> Int64 {
        mode == .full
            ? Integration.Oracle.size
            : Int64(Integration.Oracle.Group.g1.granules.count) * Integration.Oracle.granule
    }

    /// Runs a job with one request in flight, and does something while its last flush hangs.
    func run(
        _ mode: JobMode, _ bitmapMode: BitmapMode?,
        during: ((MirrorJob) throws -> Void)? = nil
    ) throws -> RecordedMirror.Report {
        let device = try Self.open(source)
        let mirrored = try StorageDevice.openTarget(
            FilePath(target.path), for: device,
            options: TargetOptions(
                overwrite: mode == .full, holdsMirror: mode == .incremental))
        var request = RecordedMirror.Request(mode)
        if let bitmapMode {
            request.bitmap = "b"
            request.bitmapMode = bitmapMode
        }
        request.checkpointInterval = nil
        // The test is what writes the source meanwhile, and marks what it writes.
        request.allowSourceInUse = during != nil
        // After a full mirror that failed, only the test knows that G0 was on the target before.
        request.allowNewTarget = mode == .incremental && during == nil
        request.options.depth = 1
        // The source that fails fails at a granule, so that requests have to be one. Each of them
        // is a shell script, so that they are as large as can be otherwise.
        if failingSource != nil && during != nil {
            request.options.requestSize = Int(Integration.Oracle.granule)
        }
        let mirror =
            mode == .full
            ? try RecordedMirror.full(
                from: Disk(device), to: Disk(mirrored), request: request, records: .store(store))
            : try RecordedMirror.incremental(
                from: Disk(device), to: Disk(mirrored), request: request, records: .store(store))
        guard let during else { return mirror.runAndWait() }
        let running = Running(mirror)
        #expect(target.waitForFlush())
        let result = Result { try during(mirror.job) }
        target.heal(.hang)
        let end = running.wait()
        try result.get()
        return end
    }

    /// A job on a thread of its own, which nothing else that runs here can keep from starting.
    private final class Running: @unchecked Sendable {
        private var report: RecordedMirror.Report?
        private let done = DispatchSemaphore(value: 0)

        init(_ mirror: RecordedMirror) {
            Thread.detachNewThread { [self] in
                report = mirror.runAndWait()
                done.signal()
            }
        }

        func wait() -> RecordedMirror.Report {
            done.wait()
            return report!
        }
    }

    /// G3, and the second job: it copies what the bitmap has, and what its target lacks besides,
    /// and no more, and mends everything.
    func mend(expecting left: Set<Int64>, lacking lacked: Set<Int64>? = nil) throws {
        for fault in [NBDDisk.Fault.hang, .flush] { target.heal(fault) }
        failingSource?.heal(.read)
        try write(.g3)
        let dirty = left.union(Integration.Oracle.Group.g3.granules)
        #expect(try self.dirty() == dirty)
        let report = try run(.incremental, .onSuccess)
        guard case .mirrored = report.mirror.outcome else {
            Issue.record("\(report.mirror.outcome)")
            return
        }
        let planned = (lacked ?? left).union(dirty)
        #expect(report.mirror.planned == Int64(planned.count) * Integration.Oracle.granule)
        expectSame(sourceImage, target.image)
        #expect(try self.dirty().isEmpty)
        #expect(try store.jobs().isEmpty)
        #expect(try store.bitmap("b").lastSuccess?.targetPath == target.path)
    }

    func overwrite(_ path: String, with bytes: Data) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.write(contentsOf: bytes)
        try file.close()
    }
}
