import Foundation
import TestSupport
import Testing

/// A chain of images with a past, which a seed fully determines: how they were made, and what was
/// written, zeroed and discarded in them, by QEMU.
struct ImageHistory: CustomStringConvertible {
    struct Traits: OptionSet {
        let rawValue: Int
        static let dataFiles = Traits(rawValue: 1)
        static let snapshots = Traits(rawValue: 2)
        static let bitmaps = Traits(rawValue: 4)
        static let all: Traits = [.dataFiles, .snapshots, .bitmaps]
    }

    struct Layer {
        let path: String
        let format: String
        let size: Int64
        let cluster: Int64
        fileprivate(set) var options: [String] = []
        fileprivate(set) var snapshots: [String] = []
        fileprivate(set) var bitmaps: [String] = []
        fileprivate var hasDataFile = false
        fileprivate var isOld = false
    }

    let seed: UInt64
    /// The lowest first.
    private(set) var layers: [Layer] = []
    private let folder: String
    private let patterns: [String]
    private let traits: Traits
    private var random: SeededGenerator

    var top: Layer { layers[layers.count - 1] }

    /// What a failure says, and how to make the same chain again.
    var description: String {
        let list = layers.map {
            "\($0.format) \($0.size) [\(($0.options + $0.snapshots).joined(separator: " "))]"
        }
        return "\(list.joined(separator: " <- ")); RINGMIRROR_SEED=\(seed) RINGMIRROR_EVENTS=1"
    }

    init(
        seed: UInt64, in scratch: Scratch, traits: Traits = .all, depth: ClosedRange<Int> = 1...4
    ) throws {
        self.seed = seed
        self.traits = traits
        random = SeededGenerator(seed: seed)
        folder = scratch.path("history-\(seed)")
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        patterns = [folder + "/pattern-0", folder + "/pattern-1"]
        // Lengths that are no multiple of a cluster: what is in a wrong place is wrong.
        for (pattern, length) in zip(patterns, [61_001, 4_999]) {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0 ... .max, using: &random) }
            try Data(bytes).write(to: URL(fileURLWithPath: pattern))
        }
        let count = Int.random(in: depth, using: &random)
        for number in 0..<count {
            if number == 0, count > 1, random.chance(percent: 50) {
                try addRaw()
            } else {
                try addQCOW2()
            }
        }
    }

    /// Runs something on one history after another, from the seed of this run on.
    static func each(
        _ count: Int, from seed: UInt64, traits: Traits = .all, depth: ClosedRange<Int> = 1...4,
        _ body: (ImageHistory, Scratch) throws -> Void
    ) throws {
        let first = RandomTest.seed(default: seed)
        for round in 0..<RandomTest.events(default: count) {
            let scratch = try Scratch()
            let seed = first &+ UInt64(round)
            do {
                let history = try ImageHistory(
                    seed: seed, in: scratch, traits: traits, depth: depth)
                try body(history, scratch)
            } catch {
                Issue.record("\(error); RINGMIRROR_SEED=\(seed) RINGMIRROR_EVENTS=1")
            }
        }
    }

    /// What a layer and those below it read as, in a raw file of the size of the top.
    func flatten(_ index: Int, to path: String) throws -> String {
        let layer = layers[index]
        return try QEMU.flatten(layer.path, format: layer.format, to: path, size: top.size)
    }

    /// Fingerprints of all files of the chain.
    func fingerprints() throws -> [String] {
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        return try files.map { "\($0) \(try Content.fingerprint(folder + "/" + $0))" }
    }

    /// Writes on in the top layer.
    mutating func write(_ count: Int) throws {
        let layer = top
        try QEMU.io(layer.path, commands(count, layer))
    }

    private mutating func nextSize() -> Int64 {
        let sizes = [512, 4608, 64 * kiB, 1025 * kiB, 2 * miB]
        if random.chance(percent: 40), let size = sizes.randomElement(using: &random) {
            return size
        }
        if let below = layers.last, random.chance(percent: 40) { return (below.size + 511) & ~511 }
        return Int64.random(in: 1...6000, using: &random) * 512
    }

    private mutating func addRaw() throws {
        let size = nextSize()
        let path = folder + "/layer-0.raw"
        try Shell.run("truncate", "-s", String(size), path)
        let even = Layer(path: path, format: "raw", size: size, cluster: 4096)
        try QEMU.io(path, format: "raw", commands(8, even))
        // A file may end anywhere.
        let odd = random.chance(percent: 50) ? Int64.random(in: 1...511, using: &random) : 0
        if odd > 0 { try Content.write(seed, to: path, size..<size + odd) }
        layers.append(Layer(path: path, format: "raw", size: size + odd, cluster: 4096))
    }

    private mutating func addQCOW2() throws {
        let clusters = [512, 4096, 16 * kiB, 64 * kiB, 64 * kiB, 256 * kiB, 2 * miB]
        let cluster = clusters.randomElement(using: &random) ?? 64 * kiB
        var layer = Layer(
            path: folder + "/layer-\(layers.count).qcow2", format: "qcow2", size: nextSize(),
            cluster: cluster)
        chooseOptions(&layer)
        // By its name alone, or by its whole path.
        let backing = layers.last.map { below in
            let name = URL(fileURLWithPath: below.path).lastPathComponent
            return (path: random.chance(percent: 50) ? name : below.path, format: below.format)
        }
        try QEMU.create(layer.path, size: layer.size, options: layer.options, over: backing)
        try QEMU.io(layer.path, compressedWrites(layer))
        try addBitmap(&layer)
        try QEMU.io(layer.path, commands(6, layer))
        if traits.contains(.snapshots), !layer.hasDataFile, random.chance(percent: 30) {
            layer.snapshots.append("before")
            try QEMU.img("snapshot", "-c", "before", layer.path)
        }
        try QEMU.io(layer.path, commands(6, layer))
        layers.append(layer)
    }

    private mutating func addBitmap(_ layer: inout Layer) throws {
        guard traits.contains(.bitmaps), !layer.isOld, random.chance(percent: 30) else { return }
        layer.bitmaps.append("bitmap")
        let granularity = [512, 4096, 65536, 2_097_152].randomElement(using: &random) ?? 65536
        try QEMU.img("bitmap", "--add", "-g", String(granularity), layer.path, "bitmap")
    }

    private mutating func chooseOptions(_ layer: inout Layer) {
        layer.options = ["cluster_size=\(layer.cluster)"]
        if random.chance(percent: 20) {
            layer.isOld = true
            layer.options.append("compat=0.10")
            return
        }
        if layer.cluster >= 16 * kiB, random.chance(percent: 35) {
            layer.options.append("extended_l2=on")
        }
        if traits.contains(.dataFiles), random.chance(percent: 15) {
            layer.hasDataFile = true
            layer.options.append("data_file=\(layer.path).data")
            // One that can be read without its image has no layers below.
            if layers.isEmpty, random.chance(percent: 50) {
                layer.options.append("data_file_raw=on")
            }
            return
        }
        if random.chance(percent: 30) { layer.options.append("lazy_refcounts=on") }
        if random.chance(percent: 40) { layer.options.append("compression_type=zstd") }
        let bits = [2, 4, 8, 16, 32, 64].randomElement(using: &random) ?? 16
        if random.chance(percent: 40) { layer.options.append("refcount_bits=\(bits)") }
    }

    /// Compressed clusters, which QEMU writes only where nothing is yet.
    private mutating func compressedWrites(_ layer: Layer) -> [String] {
        guard !layer.hasDataFile, random.chance(percent: 50) else { return [] }
        let count = layer.size / layer.cluster
        var used: Set<Int64> = []
        return (0..<4).compactMap { _ in
            guard count > 0 else { return nil }
            let number = Int64.random(in: 0..<count, using: &random)
            guard used.insert(number).inserted else { return nil }
            let what = content()
            return "write -c \(what) \(number * layer.cluster) \(layer.cluster)"
        }
    }

    private mutating func content() -> String {
        if random.chance(percent: 40) { return "-P \(Int.random(in: 0...255, using: &random))" }
        return "-s \(patterns[random.chance(percent: 50) ? 0 : 1])"
    }

    private mutating func commands(_ count: Int, _ layer: Layer) -> [String] {
        (0..<count).map { _ in
            let units = [1, 512, 4096, layer.cluster]
            let lengths = [512, 8 * kiB, 128 * kiB, miB]
            let unit = units.randomElement(using: &random) ?? 1
            let longest = lengths.randomElement(using: &random) ?? 512
            let start = Int64.random(in: 0..<layer.size, using: &random) / unit * unit
            let wanted = Int64.random(in: 1...longest, using: &random)
            let length = min((wanted + unit - 1) / unit * unit, layer.size - start)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: return "write -z \(start) \(length)"
            case 1, 2: return "write -z -u \(start) \(length)"
            case 3: return "discard \(start) \(length)"
            default: return "write \(content()) \(start) \(length)"
            }
        }
    }
}
