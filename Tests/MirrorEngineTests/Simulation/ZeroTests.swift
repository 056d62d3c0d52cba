import BlockStorage
import Foundation
import Testing

@testable import MirrorEngine

/// What zeros of the source become on the target, request by request.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct ZeroTests {
    /// Data, a hole, and data that is all zero, a request each, but for the hole which is two.
    private func disks(emptyTarget: Bool = false) -> Disks {
        Disks(
            size: 256 << 10, holes: [64 << 10..<192 << 10], zeros: [192 << 10..<256 << 10],
            emptyTarget: emptyTarget)
    }

    private func run(
        _ disks: Disks, _ zeroes: ZeroHandling, targetIsZero: Bool = false
    ) throws -> Simulation {
        var setup = Simulation.Setup()
        setup.options.zeroes = zeroes
        setup.options.targetIsZero = targetIsZero
        let simulation = try disks.simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        return simulation
    }

    private func requests(_ simulation: Simulation) -> [String] {
        simulation.kernel.records.map(\.description).sorted()
    }

    /// The hole is punched without being read; zeros that were read are punched too.
    @Test func `the mode detect punches holes and zeros`() throws {
        let simulation = try run(disks(), .detect)
        #expect(
            requests(simulation) == [
                "punchHole 196608+65536", "punchHole 65536+131072", "read 0+65536",
                "read 196608+65536", "sync", "write 0+65536",
            ])
        #expect(simulation.job.counters.zeroed.value == 192 << 10)
    }

    /// The hole is punched; zeros that were read are written.
    @Test func `the mode holes punches holes only`() throws {
        let simulation = try run(disks(), .holes)
        #expect(
            requests(simulation) == [
                "punchHole 65536+131072", "read 0+65536", "read 196608+65536", "sync",
                "write 0+65536", "write 196608+65536",
            ])
    }

    /// Nothing is punched: zeros are written, also where the source has a hole, which is not read.
    @Test func `the mode write writes all`() throws {
        let simulation = try run(disks(), .write)
        #expect(
            requests(simulation) == [
                "read 0+65536", "read 196608+65536", "sync", "write 0+65536",
                "write 131072+65536", "write 196608+65536", "write 65536+65536",
            ])
        #expect(simulation.job.counters.written.value == 256 << 10)
    }

    /// On a target that is known to be zero, zeros cost nothing.
    @Test func `known zeros are skipped`() throws {
        let simulation = try run(disks(emptyTarget: true), .detect, targetIsZero: true)
        #expect(
            requests(simulation) == [
                "read 0+65536", "read 196608+65536", "sync", "write 0+65536",
            ])
        #expect(simulation.job.counters.skipped.value == 192 << 10)
    }

    /// The same, where the target says so itself.
    @Test func `a target that starts zero is believed`() throws {
        var disks = disks(emptyTarget: true)
        disks.targetStartsZero = true
        let simulation = try run(disks, .detect)
        #expect(simulation.kernel.count(.punchHole) == 0)
        #expect(simulation.job.counters.skipped.value == 192 << 10)
    }

    /// `write` allocates all of the target, so that it writes zeros even where there are zeros.
    @Test func `the mode write does not skip`() throws {
        let simulation = try run(disks(emptyTarget: true), .write, targetIsZero: true)
        #expect(simulation.kernel.count(.write) == 4)
        #expect(simulation.job.counters.skipped.value == 0)
    }

    /// Garbage under holes must be gone, also where holes begin and end off every block.
    @Test(arguments: ZeroHandling.allCases, 1...5 as ClosedRange<UInt64>)
    func `garbage under holes goes`(zeroes: ZeroHandling, seed: UInt64) throws {
        let disks = Disks(
            size: (1 << 20) - 1,
            holes: [512..<1024, 5120..<70_144, 131_584..<400_384, 1_000_448..<(1 << 20) - 1],
            zeros: [450_000..<460_000, 500_000..<700_000])
        var setup = Simulation.Setup()
        setup.options.zeroes = zeroes
        setup.behaviour.seed = seed
        setup.behaviour.isShuffling = true
        let simulation = try disks.simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    // MARK: the ladder

    /// Five holes of more than a request, and an end off the block.
    private func ladder(
        punch: CInt, zeroRange: CInt, depth: Int = 1
    ) throws -> Simulation {
        let holes = (0..<5).map {
            $0 * 320_000 / 4096 * 4096 + 65536..<($0 + 1) * 320_000 / 4096 * 4096
        }
        let disks = Disks(
            size: 1_600_100, holes: Array(holes[..<4]) + [holes[4].lowerBound..<1_600_100])
        disks.target.refuseZeroing(punch: punch, zeroRange: zeroRange)
        var setup = Simulation.Setup()
        setup.depth = depth
        let simulation = try disks.simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        return simulation
    }

    /// The cheapest way is used for all but the unaligned end, which is written.
    @Test func `holes are punched`() throws {
        let simulation = try ladder(punch: 0, zeroRange: 0)
        #expect(simulation.kernel.count(.punchHole) == 5)
        #expect(simulation.kernel.count(.zeroRange) == 0)
        let tail = simulation.kernel.records.last { $0.operation == .write }
        #expect(tail?.offset == Int64(1_600_100 & ~4095))
        #expect(tail?.count == Int64(1_600_100 & 4095))
    }

    /// What a target can't do is tried once, and the next way used for that hole and all others.
    @Test(arguments: [EOPNOTSUPP, EINVAL])
    func `zeros are made where punching fails`(code: CInt) throws {
        let simulation = try ladder(punch: code, zeroRange: 0)
        #expect(simulation.kernel.count(.punchHole) == 1)
        #expect(simulation.kernel.count(.zeroRange) == 5)
    }

    /// The last way always works: zeros are written, a request at a time.
    @Test(arguments: [EOPNOTSUPP, EINVAL])
    func `zeros are written where all else fails`(code: CInt) throws {
        let simulation = try ladder(punch: code, zeroRange: code)
        #expect(simulation.kernel.count(.punchHole) == 1)
        #expect(simulation.kernel.count(.zeroRange) == 1)
        #expect(simulation.job.counters.zeroed.value == 0)
        // Of each hole's 253,952 or so bytes, 65,536 at a time.
        let writes = simulation.kernel.records.filter { $0.operation == .write }
        #expect(writes.allSatisfy { $0.count <= 65536 })
        #expect(writes.reduce(0) { $0 + $1.count } == 1_600_100)
    }

    /// With more in flight, each of them may find out by itself, and no more.
    @Test func `what failed is remembered`() throws {
        let simulation = try ladder(punch: EOPNOTSUPP, zeroRange: EOPNOTSUPP, depth: 3)
        #expect(simulation.kernel.count(.punchHole) <= 3)
        #expect(simulation.kernel.count(.zeroRange) <= 3)
    }
}
