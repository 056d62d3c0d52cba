import BlockStorage
import Foundation
import TestSupport
import Testing

@testable import MirrorEngine

/// Targets that allocate: what they are told, and when.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct ImageTests {
    private static let cluster = 16 << 10
    private let size = 512 << 10

    private func image(
        _ entries: [SimulatedImage.Entry] = [.old, .data(0), .zero], knowsZeros: Bool = true
    ) -> SimulatedImage {
        let count = size / Self.cluster
        return SimulatedImage(
            old: .pattern(size, seed: 2), own: .pattern(size, seed: 3),
            entries: (0..<count).map { entries[$0 % entries.count] }, clusterSize: Self.cluster,
            alignment: 512, knowsZeros: knowsZeros)
    }

    private func source(holes: [Range<Int>] = [], zeros: [Range<Int>] = []) -> SimulatedMap {
        let bytes = [UInt8].pattern(size, seed: 1).zeroing(zeros)
        return SimulatedMap(raw: SimulatedDisk(bytes, holes: holes), isTarget: false)
    }

    private func setup(_ seed: UInt64 = 1, rings: Int = 1) -> Simulation.Setup {
        var setup = Simulation.Setup()
        setup.behaviour.seed = seed
        setup.behaviour.isShuffling = true
        setup.checkpointInterval = 0
        setup.options.rings = rings
        return setup
    }

    /// Every checkpoint holds to the table that was committed with it, and the last one closes it.
    @Test(arguments: [1, 3], 1...8 as ClosedRange<UInt64>)
    func `a job commits what it claims`(rings: Int, seed: UInt64) throws {
        let image = image()
        let simulation = try Simulation(
            from: source(holes: [64 << 10..<200 << 10]), to: image, setup(seed, rings: rings))
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk && image.isClosed)
        #expect(simulation.claims.kept >= simulation.checkpointsMin)
        #expect(simulation.claims.firstBroken == nil)
        #expect(image.commits == simulation.claims.kept + 1)
    }

    /// Whatever stops a job, what it claims is in the image after a power cut; and the image is
    /// closed.
    @Test(arguments: 1...20)
    func `a cancelled job closes the image`(step: Int) throws {
        let image = image()
        let simulation = try Simulation(from: source(), to: image, setup())
        let control = simulation.job.control
        simulation.kernel.onStep { if $0 == step { control.cancel() } }
        _ = try simulation.run()
        #expect(simulation.job.isFlushed && image.isClosed)
        var random = SeededGenerator(seed: UInt64(step))
        image.disk.cutPower(using: &random)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// So does one that failed at a bad sector of its source.
    @Test func `a failed job closes the image`() throws {
        let image = image()
        let source = source()
        source.disks[0].add(Disks.bad(.read, code: EIO))
        let simulation = try Simulation(from: source, to: image, setup())
        #expect(try simulation.run().error?.transfer?.side == .source)
        #expect(simulation.job.isFlushed && image.isClosed)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// After a flush that failed nothing is committed.
    @Test func `a failed flush commits nothing`() throws {
        let image = image()
        image.disk.setFlushing(.failOnce)
        var setup = setup()
        setup.checkpointInterval = nil
        let simulation = try Simulation(from: source(), to: image, setup)
        guard case .flush = try simulation.run().error else {
            Issue.record("not a flush's error")
            return
        }
        #expect(image.commits == 0 && !image.isClosed && !simulation.job.isFlushed)
    }

    /// A commit that failed is as final: the next would succeed, and nobody asks for it.
    @Test(arguments: [nil, 0] as [Int64?])
    func `a failed commit is final`(interval: Int64?) throws {
        let image = image()
        image.failCommits(1)
        var setup = setup()
        setup.checkpointInterval = interval
        let simulation = try Simulation(from: source(), to: image, setup)
        guard case .storage = try simulation.run().error else {
            Issue.record("not the commit's error")
            return
        }
        #expect(image.commits == 0 && !image.isClosed && !simulation.job.isFlushed)
        #expect(simulation.claims.kept == 0 && simulation.job.undone() == nil)
    }

    /// Nothing is flushed or committed when a ring has broken, whoever's: what it has in flight may
    /// still be written.
    @Test(arguments: [1, 3], 1...8)
    func `a broken ring commits nothing`(rings: Int, step: Int) throws {
        let image = image()
        var setup = setup(UInt64(step), rings: rings)
        setup.checkpointInterval = nil
        setup.behaviour.ringErrorAtStep = step
        let simulation = try Simulation(from: source(), to: image, setup)
        let outcome = try simulation.run()
        #expect(simulation.kernel.stepCount >= step)
        guard case .ring = outcome.error else {
            Issue.record("not the ring's error")
            return
        }
        #expect(image.commits == 0 && !image.isClosed && !simulation.job.isFlushed)
        #expect(simulation.kernel.count(.sync) == 0 && simulation.job.undone() == nil)
    }

    // MARK: no room

    /// An image that can't grow pauses the job, and ends as a mirror when there is room: for places
    /// and for what says that something is zero.
    @Test(arguments: [ErrorPolicy.enospc, .stop], [0, 1, 7])
    func `a job waits for room`(policy: ErrorPolicy, clusters: Int) throws {
        let image = image()
        image.limitClusters(to: clusters)
        var setup = setup()
        setup.options.targetErrorPolicy = policy
        let simulation = try Simulation(
            from: source(holes: [64 << 10..<200 << 10]), to: image, setup)
        simulation.start()
        for _ in 0..<2 {
            try simulation.waitForPause()
            guard case .storage(.systemCall(_, _, .noSpace, _)) = simulation.job.control.pausedBy
            else {
                Issue.record("not paused for room")
                return
            }
            simulation.job.control.resume()
        }
        try simulation.waitForPause()
        image.makeRoom()
        simulation.job.control.resume()
        #expect(try simulation.finish(atPause: {}).isMirrored)
        #expect(simulation.isEqualOnDisk && image.isClosed)
    }

    /// A job that waits for room can be cancelled, and keeps what it has.
    @Test func `a job can be cancelled while it waits for room`() throws {
        let image = image()
        image.limitClusters(to: 7)
        var setup = setup()
        setup.options.targetErrorPolicy = .enospc
        let simulation = try Simulation(from: source(), to: image, setup)
        simulation.start()
        try simulation.waitForPause()
        simulation.job.control.cancel()
        #expect(try simulation.finish().isCancelled)
        #expect(simulation.job.isFlushed && image.isClosed)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// Where nobody asked to wait, no room is an error: there is nothing that could be left out.
    @Test(arguments: [ErrorPolicy.report, .ignore])
    func `a lack of room is reported`(policy: ErrorPolicy) throws {
        let image = image()
        image.limitClusters(to: 7)
        var setup = setup()
        setup.options.targetErrorPolicy = policy
        let simulation = try Simulation(from: source(), to: image, setup)
        guard case .storage(.systemCall(_, _, .noSpace, _)) = try simulation.run().error else {
            Issue.record("not the map's error")
            return
        }
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    // MARK: zeros

    /// Zeros are told to the table, holes and those that were read, and nothing is punched: the
    /// queue would say so.
    @Test func `zeros are made in the table`() throws {
        let image = image([.data(0)])
        let holes = [64 << 10..<192 << 10]
        let simulation = try Simulation(
            from: source(holes: holes, zeros: [256 << 10..<320 << 10]), to: image, setup())
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        #expect(simulation.job.counters.zeroed.value == 192 << 10)
        #expect(image.entry(5) == .zero && image.entry(18) == .zero)
    }

    /// Where the table can't say it, zeros are written.
    @Test func `zeros are written where the table can't say them`() throws {
        let image = image([.data(0), .old], knowsZeros: false)
        let simulation = try Simulation(
            from: source(holes: [64 << 10..<192 << 10]), to: image, setup())
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        #expect(simulation.job.counters.written.value == Int64(size))
    }

    // MARK: bad sectors

    /// A cluster that was to be written as a whole and lost a part shows none of it, nor what the
    /// disk had there: two bad sectors in one cost it once, and the log has what failed.
    @Test(arguments: [4096, 64 << 10], 1...10 as ClosedRange<UInt64>)
    func `a cluster with a hole is not seen`(requestSize: Int, seed: UInt64) throws {
        let image = image([.old])
        let before = image.bytes()
        let start = image.nextCluster + 5 * Self.cluster
        for sector in [3, 9] {
            let bytes = (start + sector * 512)..<(start + (sector + 1) * 512)
            image.disk.add(.init(bytes: bytes, directions: [.write]))
        }
        var setup = setup(seed)
        setup.requestSize = requestSize
        setup.checkpointInterval = nil
        setup.options.targetErrorPolicy = .ignore
        let source = source()
        let simulation = try Simulation(from: source, to: image, setup)
        let strangers = Strangers(image, source.bytes(), before)
        simulation.kernel.onStep { _ in strangers.look() }
        // The retry pass finds another place.
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        #expect(strangers.first == nil)
        #expect(simulation.job.counters.done.value == simulation.planned)
    }

    /// The same where each place is as bad as the one before.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `a cluster that is lost twice stays old`(seed: UInt64) throws {
        let image = image([.old])
        let before = image.bytes()
        let first = image.nextCluster
        for cluster in 0..<size / Self.cluster * 4 {
            let sector = first + cluster * Self.cluster + 1024
            image.disk.add(.init(bytes: sector..<(sector + 512), directions: [.write]))
        }
        var setup = setup(seed)
        setup.granularity = 4096
        setup.dirty = [5 * 16384..<6 * 16384, 9 * 16384..<9 * 16384 + 4096]
        setup.options.targetErrorPolicy = .ignore
        let source = source()
        let simulation = try Simulation(from: source, to: image, setup)
        guard case .incomplete(let bytes, _, let ranges) = try simulation.run().error else {
            Issue.record("not what could not be copied")
            return
        }
        // Of the other cluster, only a part was to be written: it costs what has failed.
        #expect(bytes == 16384 + 512 && ranges == 2)
        #expect(bytes + simulation.job.counters.done.value == simulation.planned)
        let now = image.bytes(durable: true)
        #expect(now[(5 * 16384)..<(6 * 16384)] == before[(5 * 16384)..<(6 * 16384)])
        let remaining = simulation.job.dispenser.remaining()
        let isWholeClusterLeft = remaining.isFullyDirty(in: 5 * 16384..<6 * 16384)
        #expect(isWholeClusterLeft)
        #expect(simulation.job.counters.done.value == 4096 - 512)
    }

    /// Looks at an image while it is written for a sector that is of neither disk.
    private final class Strangers: @unchecked Sendable {
        private let image: SimulatedImage
        private let new: [UInt8]
        private let old: [UInt8]
        private(set) var first: Int64?

        init(_ image: SimulatedImage, _ new: [UInt8], _ old: [UInt8]) {
            self.image = image
            self.new = new
            self.old = old
        }

        func look() {
            let now = image.bytes()
            first =
                first
                ?? now.firstDifference(from: new) { start, end in
                    now[start..<end] != old[start..<end]
                }
        }
    }

    /// Bits finer than a cluster: what lies around them in it stays, and what one run wrote lasts
    /// whatever becomes of another in the same cluster.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `a cluster is shared between runs`(seed: UInt64) throws {
        let image = image()
        let before = image.bytes()
        let source = source()
        source.disks[0].add(.init(bytes: 41_000..<41_001, directions: [.read]))
        var setup = setup(seed)
        setup.granularity = 4096
        setup.dirty = stride(from: 0, to: Int64(size), by: 8192).map { $0..<($0 + 4096) }
        setup.options.sourceErrorPolicy = .ignore
        let simulation = try Simulation(from: source, to: image, setup)
        guard case .incomplete = try simulation.run().error else {
            Issue.record("not what could not be copied")
            return
        }
        let bytes = source.bytes()
        let now = image.bytes(durable: true)
        for start in stride(from: 0, to: size, by: 4096) where start != 40_960 {
            let isDirty = start % 8192 == 0
            let part = start..<(start + 4096)
            #expect(now[part] == (isDirty ? bytes : before)[part], "at \(start)")
        }
    }
}
