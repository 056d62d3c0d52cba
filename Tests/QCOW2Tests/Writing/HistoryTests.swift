import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// What kind of image a history is written over.
struct HistoryCase: CustomTestStringConvertible, Sendable {
    var options: [String] = []
    var clusterSize: Int64 = 65536
    var clusters: Int64 = 40
    var hasBacking = false
    var hasCompressed = false
    var hasSnapshots = false
    /// Made here and not by qemu-img.
    var isNew = false

    var testDescription: String {
        "\(clusterSize) \(options) \(hasBacking ? "backing " : "")"
            + "\(hasCompressed ? "compressed " : "")\(hasSnapshots ? "snapshots " : "")"
            + "\(isNew ? "new" : "")"
    }

    static let all: [HistoryCase] = [
        HistoryCase(),
        HistoryCase(hasBacking: true),
        HistoryCase(hasCompressed: true),
        HistoryCase(hasSnapshots: true),
        HistoryCase(hasBacking: true, hasCompressed: true, hasSnapshots: true),
        HistoryCase(clusterSize: 512, clusters: 500, hasBacking: true),
        HistoryCase(
            options: ["refcount_bits=64"], clusterSize: 512, clusters: 6000, hasSnapshots: true),
        HistoryCase(options: ["refcount_bits=1"], clusterSize: 4096, clusters: 200),
        HistoryCase(
            options: ["refcount_bits=8"], clusterSize: 1024, clusters: 300, hasCompressed: true,
            hasSnapshots: true),
        HistoryCase(
            options: ["refcount_bits=4"], clusterSize: 4096, clusters: 200, hasSnapshots: true),
        HistoryCase(options: ["refcount_bits=8", "lazy_refcounts=on"], clusterSize: 8192),
        HistoryCase(options: ["refcount_bits=32"], clusterSize: 2048, hasCompressed: true),
        HistoryCase(options: ["compat=0.10"]),
        HistoryCase(options: ["compat=0.10"], hasBacking: true, hasCompressed: true),
        HistoryCase(options: ["compat=0.10"], clusterSize: 512, clusters: 900, hasSnapshots: true),
        HistoryCase(clusterSize: 2 << 20, clusters: 5, hasBacking: true),
        HistoryCase(options: ["extended_l2=on"], clusterSize: 131072, clusters: 20),
        HistoryCase(
            options: ["extended_l2=on"], clusterSize: 65536, clusters: 20, hasBacking: true,
            hasSnapshots: true),
        HistoryCase(
            options: ["extended_l2=on"], clusterSize: 16384, clusters: 60, hasBacking: true,
            hasCompressed: true),
        HistoryCase(options: ["preallocation=metadata"], clusters: 30),
        HistoryCase(options: ["preallocation=full"], clusterSize: 4096, hasSnapshots: true),
        HistoryCase(
            options: ["extended_l2=on", "preallocation=metadata"], clusterSize: 131072,
            clusters: 10),
        HistoryCase(options: ["compression_type=zstd"], hasCompressed: true),
        HistoryCase(isNew: true),
        HistoryCase(options: ["refcount_bits=64"], clusterSize: 512, clusters: 9000, isNew: true),
    ]
}

@Suite(.enabled(if: Judge.isInstalled, "needs qemu-img and qemu-io"))
struct HistoryTests {
    @Test(arguments: HistoryCase.all, [1, 2])
    func `what was written is what QEMU reads`(_ kind: HistoryCase, seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        let scratch = try Scratch()
        let image = scratch.path("image.qcow2")
        let size = kind.clusters * kind.clusterSize - 512 * Int64.random(in: 0...1, using: &random)
        let below = try prepare(image, kind, size, scratch, &random)
        let before = try Judge.content(image)
        let snapshot = kind.hasSnapshots ? try Judge.content(image, snapshot: "s") : nil
        let content = KnownContent(
            all: before, below: below, clusterSize: Int(kind.clusterSize))
        let driver = try TargetDriver(
            PlainFile(image), content: content, model: before, isNew: kind.isNew)
        let alignment = max(512, min(kind.clusterSize, 4096))
        for _ in 0..<RandomTest.events(default: 60) {
            try step(driver, kind, alignment, &random)
        }
        try driver.commit(isFinal: true)
        try Judge.check(image)
        let after = try Judge.content(image)
        compare(after, driver.model, "\(random.replay)")
        if let snapshot {
            compare(try Judge.content(image, snapshot: "s"), snapshot, "\(random.replay)")
        }
    }

    private func compare(_ found: [UInt8], _ expected: [UInt8], _ place: Comment) {
        guard found != expected else { return }
        let first = zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }
        Issue.record(
            "\(place): \(found.count) and \(expected.count) bytes, first at \(first as Any)")
    }

    private func step(
        _ driver: TargetDriver, _ kind: HistoryCase, _ alignment: Int64,
        _ random: inout SeededGenerator
    ) throws {
        let size = driver.target.size
        let unit = random.chance(percent: 50) ? kind.clusterSize : alignment
        let start = Int64.random(in: 0..<size, using: &random) / unit * unit
        let most = max(unit, random.chance(percent: 20) ? size / 3 : 4 * kind.clusterSize)
        let length = (Int64.random(in: 1...most, using: &random) + unit - 1) / unit * unit
        let range = start..<min(start + length, size)
        switch Int.random(in: 0..<12, using: &random) {
        case 0...4:
            let value = UInt8.random(in: 1...255, using: &random)
            let bytes = (0..<range.count).map { value &+ UInt8(truncatingIfNeeded: $0 / 512) }
            try driver.start(range, bytes)
        case 5: try driver.abandon(range)
        case 6, 7: try driver.arriveAny(&random)
        case 8, 9: try driver.zero(range)
        case 10:
            if driver.target.readsAsZero(range) {
                let bytes = driver.model[Int(range.lowerBound)..<Int(range.upperBound)]
                #expect(!bytes.contains { $0 != 0 }, "\(range); \(random.replay)")
            }
        default: try driver.commit()
        }
    }

    /// Makes an image with something in it.
    ///
    /// - Returns: what the image below has.
    private func prepare(
        _ image: String, _ kind: HistoryCase, _ size: Int64, _ scratch: Scratch,
        _ random: inout SeededGenerator
    ) throws -> [UInt8] {
        if kind.isNew {
            var options = NewImageOptions(size: size)
            options.clusterSize = kind.clusterSize
            if kind.options == ["refcount_bits=64"] { options.refcountBits = 64 }
            _ = try options.create(in: PlainFile(image))
            return []
        }
        var arguments = ["create", "-q", "-f", "qcow2"]
        arguments += [
            "-o", (kind.options + ["cluster_size=\(kind.clusterSize)"]).joined(separator: ","),
        ]
        var below: [UInt8] = []
        if kind.hasBacking {
            let base = scratch.path("base.raw")
            let length = Int(size * 2 / 3) / 512 * 512
            below = (0..<length).map {
                $0 / 8192 % 3 == 0 ? 0 : UInt8(truncatingIfNeeded: $0 / 512) | 1
            }
            try Data(below).write(to: URL(fileURLWithPath: base))
            arguments += ["-b", base, "-F", "raw"]
        }
        try Shell.run("qemu-img", arguments + [image, String(size)])
        try fill(image, kind, size, &random)
        if kind.hasSnapshots {
            try Shell.run("qemu-img", "snapshot", "-c", "s", image)
            var again = kind
            again.hasCompressed = false
            try fill(image, again, size, &random)
        }
        try Judge.check(image)
        return below
    }

    private func fill(
        _ image: String, _ kind: HistoryCase, _ size: Int64, _ random: inout SeededGenerator
    ) throws {
        var commands: [String] = []
        let whole = size / kind.clusterSize
        if kind.hasCompressed {
            // QEMU compresses only what is not there yet.
            for cluster in (0..<whole).shuffled(using: &random).prefix(8) {
                let value = UInt8.random(in: 1...255, using: &random)
                let start = cluster * kind.clusterSize
                commands.append("write -c -P \(value) \(start) \(kind.clusterSize)")
            }
        }
        for _ in 0..<8 {
            let cluster = Int64.random(in: 0..<whole, using: &random) * kind.clusterSize
            let value = UInt8.random(in: 1...255, using: &random)
            let count = min(
                kind.clusterSize * Int64.random(in: 1...4, using: &random),
                size / kind.clusterSize * kind.clusterSize - cluster)
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1: commands.append("write -z \(cluster) \(count)")
            case 2: commands.append("discard \(cluster) \(count)")
            case 3:
                let part = max(512, kind.clusterSize / 32)
                commands.append("write -P \(value) \(cluster + count - part) \(part)")
            default: commands.append("write -P \(value) \(cluster) \(count)")
            }
        }
        let output = try Shell.run(
            "qemu-io", ["-f", "qcow2"] + commands.flatMap { ["-c", $0] } + [image])
        #expect(!output.contains("failed") && !output.contains("rror"), "\(output)")
    }
}
