import BlockStorage
import Foundation
import TestSupport
import Testing

@testable import QCOW2

/// Whenever the power goes, an image is valid, and has what was committed.
@Suite struct PowerCutTests {
    struct Kind: Sendable, CustomTestStringConvertible {
        var name: String
        var size: Int64
        var options: [String] = []
        var cluster: Int64 = 512
        var bits = 16
        var extended = false
        var preallocated = false
        var testDescription: String { name }
    }

    static let kinds = [
        Kind(name: "small clusters", size: 100 << 10),
        Kind(name: "one bit", size: 100 << 10, bits: 1),
        Kind(name: "a refcount table that grows", size: 3 << 20, bits: 64),
        Kind(name: "subclusters", size: 500 << 10, cluster: 16384, extended: true),
        Kind(name: "preallocated", size: 100 << 10, preallocated: true),
        Kind(
            name: "preallocated subclusters", size: 200 << 10, cluster: 16384, extended: true,
            preallocated: true),
        Kind(name: "usual clusters", size: (1 << 20) - 512, cluster: 65536),
    ]

    /// What each sector has had, the oldest that may still be there first.
    private struct Sectors {
        var values: [[UInt8]]

        mutating func write(_ range: Range<Int64>, _ bytes: [UInt8]) {
            for (number, sector) in Self.indices(range).enumerated() {
                values[sector].append(bytes[number * 512])
            }
        }

        mutating func zero(_ range: Range<Int64>) {
            for sector in Self.indices(range) { values[sector].append(0) }
        }

        static func indices(_ range: Range<Int64>) -> Range<Int> {
            Int(range.lowerBound / 512)..<Int((range.upperBound + 511) / 512)
        }
    }

    @Test(arguments: kinds, [1, 2, 3])
    func `an image outlives the machine at any moment`(_ kind: Kind, seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        var options = NewImageOptions(size: kind.size)
        options.clusterSize = kind.cluster
        options.refcountBits = kind.bits
        options.extendedL2 = kind.extended
        options.preallocatesMetadata = kind.preallocated
        let made = MemoryImage()
        _ = try options.create(in: made)
        let start = made.content
        let image = MemoryImage(start)
        let driver = try TargetDriver(image, isNew: true, growth: 65536)
        // The states of all sectors by the number of the commit that made them last.
        var commits: [[UInt8]] = [[UInt8](repeating: 0, count: Int(kind.size / 512))]
        var written = Sectors(values: commits[0].map { [$0] })
        /// How long the history of each sector was at a commit.
        var lengths = [written.values.map(\.count)]
        for _ in 0..<RandomTest.events(default: 40) {
            try step(driver, &written, kind, &random)
            if random.chance(percent: 15) {
                try driver.arriveAll()
                driver.target.seal()
                try image.sync()
                commits.append(sectors(of: driver.model))
                lengths.append(written.values.map(\.count))
                // Others go on while it is made last; but a refcount table may move under locks.
                if kind.bits < 64 {
                    image.duringSync = {
                        for _ in 0..<Int.random(in: 0..<3, using: &random) {
                            try step(driver, &written, kind, &random)
                        }
                    }
                }
                try driver.target.commit(isFinal: false)
                image.duringSync = nil
                image.mark(commits.count - 1)
            }
        }
        try driver.commit(isFinal: true)
        commits.append(sectors(of: driver.model))
        lengths.append(written.values.map(\.count))
        image.mark(commits.count - 1)
        #expect(NaiveImage(bytes: image.content).problems(strict: true) == [], "\(random.replay)")
        try replay(image, start, (commits, lengths), written, &random)
    }

    private func step(
        _ driver: TargetDriver, _ written: inout Sectors, _ kind: Kind,
        _ random: inout SeededGenerator
    ) throws {
        let size = kind.size
        let unit = random.chance(percent: 50) ? kind.cluster : 512
        let start = Int64.random(in: 0..<size, using: &random) / unit * unit
        let most = max(unit, random.chance(percent: 20) ? size / 2 : 4 * kind.cluster)
        let length = (Int64.random(in: 1...most, using: &random) + unit - 1) / unit * unit
        let range = start..<min(start + length, size)
        switch Int.random(in: 0..<10, using: &random) {
        case 0...4:
            let value = UInt8.random(in: 1...255, using: &random)
            let whole = driver.widened(range)
            let bytes = [UInt8](repeating: value, count: whole.count)
            written.write(whole, bytes)
            try driver.start(whole, bytes)
        case 5: try driver.abandon(range)
        case 6, 7: try driver.arriveAny(&random)
        default:
            let done = try driver.zero(range)
            written.zero(range.lowerBound..<(range.lowerBound + done))
        }
    }

    private func sectors(of model: [UInt8]) -> [UInt8] {
        stride(from: 0, to: model.count, by: 512).map { model[$0] }
    }

    private func replay(
        _ image: MemoryImage, _ start: [UInt8], _ commits: ([[UInt8]], [[Int]]),
        _ written: Sectors,
        _ random: inout SeededGenerator
    ) throws {
        var cut = VolatileFile(start)
        var committed = 0
        let step = max(1, image.events.count / 25)
        let offset = Int.random(in: 0..<step, using: &random)
        for (number, event) in image.events.enumerated() {
            cut.perform(event)
            if case .mark(let commit) = event { committed = commit }
            guard number % step == offset else { continue }
            var states = [cut.content]
            for percent in [20, 50, 90] {
                states.append(cut.afterPowerCut(percent: percent, using: &random))
            }
            for (variant, state) in states.enumerated() {
                let place: Comment = "event \(number), variant \(variant); \(random.replay)"
                let found = NaiveImage(bytes: state)
                let problems = found.problems()
                #expect(problems == [], place)
                expectContent(
                    found, (commits.0[committed], commits.1[committed]), written, place)
                if random.chance(percent: 1), Judge.isInstalled {
                    let scratch = try Scratch()
                    let path = scratch.path("cut.qcow2")
                    try Data(state).write(to: URL(fileURLWithPath: path))
                    try Judge.check(path, allowLeaks: true)
                }
                guard problems.isEmpty else { return }
            }
        }
    }

    /// Every sector has what it had at the last commit, or what was written to it later: nothing
    /// older, and nothing that belongs elsewhere.
    private func expectContent(
        _ image: NaiveImage, _ committed: (values: [UInt8], lengths: [Int]), _ written: Sectors,
        _ place: Comment
    ) {
        // Of a large disk, some sectors have to do.
        let step = max(1, committed.values.count / 500 * 2 + 1)
        for sector in stride(from: 0, to: committed.values.count, by: step) {
            let bytes = image.sector(at: sector * 512) ?? [0]
            let isWhole = !bytes.contains { $0 != bytes[0] }
            let later = written.values[sector][committed.lengths[sector]...]
            let isKnown = bytes[0] == committed.values[sector] || later.contains(bytes[0])
            if isWhole && isKnown { continue }
            Issue.record(
                "\(place): sector \(sector): \(bytes[0]), was \(committed.values[sector])")
            return
        }
    }
}
