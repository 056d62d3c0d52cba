import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport

@testable import BitmapStore

/// An image with a bitmap, the store of its targets, and the model of both; and what really is on
/// the image and the targets, sector by sector, as numbers that are used once.
final class ImageTwin {
    let disk: MemoryDisk
    private let store: BitmapStore
    private(set) var model: ImageModel
    private var jobs: [UInt64: StoreJob] = [:]
    /// The bitmap in the image, as the store's answers have left it.
    private(set) var image: ModelBits
    private var source: [Int]
    private var targets: [String: [Int]] = [:]
    private var last = 0

    private static let names = ["x", "y", "z"]
    private static let shifts = [9, 10, 12]

    init(size: Int, shift: Int) throws {
        model = ImageModel(size: size, shift: shift)
        image = ModelBits(size: size, shift: shift)
        source = []
        (disk, store) = try makeStore(BitmapStoreTests.disk("source", size: size))
        source = content()
    }

    private func number() -> Int {
        last += 1
        return last
    }

    private func content() -> [Int] { (0..<(model.size + 511) / 512).map { _ in number() } }

    // MARK: What happens

    /// Does it to both.
    ///
    /// - Returns: what the model and the store refused it with.
    func apply(_ operation: ImageOperation) throws -> (expected: String?, found: String?) {
        let before = model
        let expected = model.apply(operation)
        if expected == nil { note(operation, before) }
        do throws(BitmapStoreError) {
            try perform(operation)
            return (expected, nil)
        } catch {
            return (expected, error.caseName)
        }
    }

    private func perform(_ operation: ImageOperation) throws(BitmapStoreError) {
        switch operation {
        case .write(let range): image.set(range)
        case .begin(let kind, let mode, let target, let working, let vouched):
            var request = JobRequest(
                mode: kind, bitmap: .image("b"), bitmapMode: mode, source: try store.device(),
                sourcePath: "source", target: BitmapStoreTests.disk(target, size: model.size),
                targetPath: FilePath(target))
            request.allowsUnknownTarget = vouched
            let job: StoreJob
            if let working {
                job = try store.beginJob(
                    request, working: working.bitmap(), imageMarks: image.bitmap())
            } else {
                job = try store.beginJob(request, imageMarks: image.bitmap())
            }
            jobs[job.record.id] = job
        case .checkpoint(let id, let bits): try jobs[id]!.checkpoint(bits.bitmap())
        case .finish(let id, let ending, let bits, let clears):
            var cleared: DirtyBitmap?
            if let bits {
                cleared = try jobs[id]!.finish(ending, remaining: bits.bitmap())
            } else {
                cleared = try jobs[id]!.finish(ending)
            }
            jobs[id] = nil
            if let cleared = cleared.take(), clears { image.subtract(ModelBits(cleared)) }
        case .die(let id): jobs[id] = nil
        case .resume(let id): jobs[id] = try store.resumeJob(id, imageMarks: image.bitmap())
        case .forget(let id): try store.forgetJobs { $0.id == id }
        case .forgetTarget(let target):
            try store.forgetTargets(of: .image("b")) { $0.path.string == target }
        case .clear(let clears):
            try store.willClear(imageBitmap: "b", marks: image.bitmap())
            if clears { image = ModelBits(size: image.size, shift: image.shift) }
        case .remake(let shift):
            try store.forget(imageBitmap: "b")
            image = ModelBits(size: image.size, shift: shift)
        case .foreign(let bits): image = bits
        }
    }

    /// What the store says of targets now.
    func known() throws(BitmapStoreError) -> [StoredTarget] {
        try store.targets(of: .image("b"), imageMarks: image.bitmap())
    }

    // MARK: What is true

    private func note(_ operation: ImageOperation, _ before: ImageModel) {
        switch operation {
        case .write(let range):
            for sector in sectors(of: range) { source[sector] = number() }
        case .begin(.incremental, _, let target, _, _):
            // The caller answers for a target that is not known.
            if model.bitmap!.targets.contains(where: { $0.name == target }) { return }
            targets[target] = source
            for sector in source.indices where model.marks.has(sector) {
                targets[target]![sector] = number()
            }
        case .checkpoint(let id, let bits), .finish(let id, .failure, .some(let bits), _):
            copy(before.job(id), except: bits)
        case .finish(let id, .success, _, _):
            copy(before.job(id), except: ModelBits(size: model.size, shift: 9))
        case .die(let id):
            // Some of what remains may have arrived, too.
            let job = before.job(id)
            let salt = number()
            for sector in source.indices
            where job.remaining.has(sector) && (sector &* 7 &+ salt) % 3 == 0 {
                targets[job.target, default: content()][sector] = source[sector]
            }
        default: break
        }
    }

    /// What remained of a job has been copied.
    private func copy(_ job: Snapshot.Job, except remaining: ModelBits) {
        for sector in source.indices where job.remaining.has(sector) && !remaining.has(sector) {
            targets[job.target, default: content()][sector] = source[sector]
        }
    }

    private func sectors(of range: Range<Int>) -> Range<Int> {
        range.isEmpty ? 0..<0 : range.lowerBound / 512..<(range.upperBound - 1) / 512 + 1
    }

    /// The first sector in which a target differs from the image that is in none of these.
    private func difference(_ target: String, outside known: [ModelBits]) -> Int? {
        source.indices.first { sector in
            targets[target]?[sector] != source[sector] && !known.contains { $0.has(sector) }
        }
    }

    /// What a target has that the store does not know of, or a job that succeeded has left; nil:
    /// nothing.
    func flaw(after operation: ImageOperation, _ before: ImageModel) -> String? {
        if case .finish(let id, .success, _, _) = operation {
            let target = before.job(id).target
            if let sector = difference(target, outside: []) {
                return "\(target) is called a mirror, and differs at sector \(sector)"
            }
        }
        guard let bitmap = model.bitmap, !model.isRemade else { return nil }
        for target in bitmap.targets {
            if let sector = difference(target.name, outside: [image, target.lacked]) {
                return "\(target.name) differs at sector \(sector), which nothing tells"
            }
        }
        return nil
    }

    // MARK: What may happen

    /// Something that may happen next.
    func anything(_ random: inout SeededGenerator) -> ImageOperation {
        // What something else has done to the bitmap is seen when it is used the next time, if
        // nothing has hidden it until then.
        if model.isRemade { return using(&random) }
        if let id = model.running {
            return doing(model.job(id), &random)
        }
        let shift = Self.shifts.randomElement(using: &random)!
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: return .write(range(&random))
        case 35..<88: return using(&random)
        case 88..<92:
            return model.jobs.randomElement(using: &random).map { .forget($0.id) } ?? .write(0..<1)
        case 92..<95 where model.bitmap != nil:
            return .forgetTarget(Self.names.randomElement(using: &random)!)
        case 95..<96: return .remake(shift: shift)
        case 96..<100:
            guard let bitmap = model.bitmap else { return .write(0..<1) }
            guard shift == bitmap.bits.shift else {
                return .foreign(ModelBits(size: model.size, shift: shift))
            }
            let left = part(
                of: model.marks, percent: random.chance(percent: 50) ? 100 : 50, &random)
            // What was not settled can be lost without a trace.
            return left.contains(bitmap.bits) ? .write(0..<1) : .foreign(left)
        default: return .write(range(&random))
        }
    }

    private func doing(_ job: Snapshot.Job, _ random: inout SeededGenerator) -> ImageOperation {
        let tells = random.chance(percent: 50)
        let clears = random.chance(percent: 80)
        let left = rounded(part(of: job.remaining, percent: 40, &random), &random)
        return switch Int.random(in: 0..<10, using: &random) {
        case 0..<4: .checkpoint(job.id, left)
        case 4..<7:
            .finish(
                job.id, .success, tells ? ModelBits(size: model.size, shift: left.shift) : nil,
                clears: clears)
        case 7..<9: .finish(job.id, .failure, tells ? left : nil, clears: clears)
        default: .die(job.id)
        }
    }

    private func using(_ random: inout SeededGenerator) -> ImageOperation {
        if random.chance(percent: 10) { return .clear(clears: random.chance(percent: 70)) }
        if let job = model.jobs.randomElement(using: &random), random.chance(percent: 45) {
            return .resume(job.id)
        }
        let mode = BitmapMode.allCases.randomElement(using: &random)!
        let target = Self.names.randomElement(using: &random)!
        guard random.chance(percent: 35) else {
            return .begin(
                .incremental, mode, target: target, working: nil,
                vouched: random.chance(percent: 50))
        }
        let shift = Self.shifts.randomElement(using: &random)!
        let all = ModelBits(size: model.size, shift: shift, all: true)
        return .begin(
            .full, mode, target: target, working: random.chance(percent: 70) ? all : nil,
            vouched: false)
    }

    private func range(_ random: inout SeededGenerator) -> Range<Int> {
        let start = Int.random(in: 0..<model.size, using: &random)
        return start..<min(model.size, start + Int.random(in: 0...3000, using: &random))
    }

    /// What is left when as many of a hundred granules are done.
    private func part(
        of bits: ModelBits, percent: Int, _ random: inout SeededGenerator
    ) -> ModelBits {
        var some = bits
        for granule in some.bits.indices where random.chance(percent: percent) {
            some.bits[granule] = false
        }
        return some
    }

    /// Now and then in another granularity.
    private func rounded(_ bits: ModelBits, _ random: inout SeededGenerator) -> ModelBits {
        guard random.chance(percent: 30) else { return bits }
        var other = ModelBits(
            size: bits.size, shift: Self.shifts.randomElement(using: &random)!)
        other.merge(bits)
        return other
    }
}

extension ImageModel {
    func job(_ id: UInt64) -> Snapshot.Job { jobs.first { $0.id == id }! }
}
