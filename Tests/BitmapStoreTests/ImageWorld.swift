import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport

@testable import BitmapStore

/// An image with a bitmap in it, its targets, and the store beside it, whose processes may die at
/// any write of the store, and between the store and the image.
struct ImageWorld {
    private let sectors: Int
    private let size: Int
    private let shift: Int
    /// What the image has marked.
    private var marks: ModelBits
    /// Sector by sector, as numbers that are used once.
    private var source: [Int]
    private var targets: [String: [Int]] = [:]
    private var last = 0
    private var disk: MemoryDisk
    private var store: BitmapStore
    /// Looks at a target that the bitmap knew.
    private(set) var checked = 0

    init(size: Int, shift: Int) throws {
        self.size = size
        self.shift = shift
        sectors = (size + 511) / 512
        marks = ModelBits(size: size, shift: shift)
        source = Array(0..<sectors)
        last = sectors
        (disk, store) = try makeStore(BitmapStoreTests.disk("source", size: size))
        for name in ["x", "y", "z"] { targets[name] = (0..<sectors).map { _ in number() } }
    }

    private mutating func number() -> Int {
        last += 1
        return last
    }

    private mutating func write(_ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let start = Int.random(in: 0..<size, using: &random)
            let end = min(size, start + Int.random(in: 1...1500, using: &random))
            marks.set(start..<end)
            for sector in start / 512...(end - 1) / 512 { source[sector] = number() }
        }
    }

    private func request(
        _ mode: JobMode, _ bitmapMode: BitmapMode, _ target: String
    ) throws -> JobRequest {
        var request = JobRequest(
            mode: mode, bitmap: .image("n"), bitmapMode: bitmapMode, source: try store.device(),
            sourcePath: "s", target: BitmapStoreTests.disk(target, size: size),
            targetPath: FilePath(target))
        request.allowsUnknownTarget = true
        return request
    }

    /// Something that may happen next; says what.
    mutating func step(_ random: inout SeededGenerator) throws -> String {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<3:
            write(&random)
            return "write"
        case 3:
            let willDie = random.chance(percent: 30)
            try store.willClear(imageBitmap: "n", marks: marks.bitmap())
            if !willDie { marks = ModelBits(size: size, shift: shift) }
            return "clear, dies \(willDie)"
        case 4: return try clearBehindItsBack(&random)
        case 5 where try !store.jobs().isEmpty: return try resume(&random)
        default: return try mirror(&random)
        }
    }

    /// Where the store can notice that. Nothing can, if nothing was marked when it last looked.
    private mutating func clearBehindItsBack(_ random: inout SeededGenerator) throws -> String {
        var left = marks
        for index in left.bits.indices where random.chance(percent: 50) { left.bits[index] = false }
        let all = try store.targets(of: .image("n"))
        let seen = try? store.targets(of: .image("n"), imageMarks: left.bitmap())
        guard !all.isEmpty, seen == nil else { return "nothing" }
        marks = left
        return "cleared by something else"
    }

    private mutating func mirror(_ random: inout SeededGenerator) throws -> String {
        let target = ["x", "y", "z"].randomElement(using: &random)!
        let mode = BitmapMode.allCases.randomElement(using: &random)!
        let isFull = random.chance(percent: 30) && mode != .never
        if !isFull, try !known(to: store).contains(where: { $0.path.string == target }) {
            // The caller answers for it that it is as the source is, but where that is marked.
            for sector in 0..<sectors where !marks.has(sector) {
                targets[target]![sector] = source[sector]
            }
        }
        let job = try store.beginJob(
            request(isFull ? .full : .incremental, mode, target), imageMarks: marks.bitmap())
        let end = try run(job, target, &random)
        return "\(isFull ? "full" : "incremental") \(mode) to \(target): \(end)"
    }

    private mutating func resume(_ random: inout SeededGenerator) throws -> String {
        let old = try store.jobs().randomElement(using: &random)!
        guard let job = try? store.resumeJob(old.id, imageMarks: marks.bitmap()) else {
            return "resume, refused"
        }
        return "resume: \(try run(job, old.targetPath.string, &random))"
    }

    /// Copies all that the job has to, or some of it, and ends it in some way.
    private mutating func run(
        _ job: StoreJob, _ target: String, _ random: inout SeededGenerator
    ) throws -> String {
        let taken = ModelBits(try job.loadRemaining())
        var left = taken
        let succeeds = random.chance(percent: 50)
        for granule in left.bits.indices
        where left.bits[granule] && (succeeds || random.chance(percent: 60)) {
            left.bits[granule] = false
        }
        for sector in 0..<sectors where taken.has(sector) && !left.has(sector) {
            targets[target]![sector] = source[sector]
        }
        if random.chance(percent: 50) { try job.checkpoint(left.bitmap()) }
        if !succeeds, random.chance(percent: 30) { return "dies" }
        disk.startRecording()
        var ended = try job.finish(succeeds ? .success : .failure, remaining: left.bitmap())
        var cleared: ModelBits?
        if let bits = ended.take() { cleared = ModelBits(bits) }
        // Killed at any write, and before the image is cleared: each of these files may be found.
        for count in 0...disk.events.count {
            if let flaw = try flaw(disk.afterKill(before: count)) {
                return "\(succeeds), killed before call \(count): FLAW \(flaw)"
            }
        }
        let willDie = random.chance(percent: 20)
        if let cleared, !willDie { marks.subtract(cleared) }
        return "\(succeeds), dies \(willDie)"
    }

    /// The targets of the bitmap; none if it has lost marks.
    private func known(to store: BitmapStore) throws -> [StoredTarget] {
        // Whatever else is wrong with the store is found without a look at the marks.
        let all = try store.targets(of: .image("n"))
        return all.isEmpty
            ? [] : (try? store.targets(of: .image("n"), imageMarks: marks.bitmap())) ?? []
    }

    /// A target of which too little is known; nil: there is none.
    func flaw(_ disk: MemoryDisk) throws -> String? {
        // A file of its own, so that looking changes nothing.
        let store = try openStore(MemoryDisk(content: disk.content))
        for target in try known(to: store) {
            let name = target.path.string
            let job = try openStore(MemoryDisk(content: disk.content)).beginJob(
                request(.incremental, .onSuccess, name), imageMarks: marks.bitmap())
            let demand = ModelBits(try job.loadRemaining())
            if demand.dirtyBytes != target.lackedBytes {
                return "\(name) lacks \(demand.dirtyBytes) bytes, not \(target.lackedBytes)"
            }
            for sector in 0..<sectors
            where targets[name]![sector] != source[sector] && !demand.has(sector) {
                return "\(name) differs at sector \(sector), and the bitmap does not know it"
            }
        }
        return nil
    }

    mutating func flaw() throws -> String? {
        checked += try known(to: store).count
        return try flaw(disk)
    }
}
