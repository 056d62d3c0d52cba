import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport

@testable import BitmapStore

/// A store and its model, to which the same happens.
final class Twin {
    let disk: MemoryDisk
    private(set) var store: BitmapStore
    private(set) var model: Model
    private(set) var truth: Truth
    /// Targets that something else has written since the last success, each with its bitmap.
    private(set) var suspects: Set<[String]> = []
    /// What is wrong with what the store knows; nil: nothing.
    private(set) var flaw: String?
    private let shifts: [Int]
    private var jobs: [UInt64: StoreJob] = [:]
    private var sessions: [String: RecordingSession] = [:]

    private static let names = ["a", "b", "c"]
    private static let targets = ["x", "y", "z"]

    init(size: Int, shifts: [Int]) throws {
        self.shifts = shifts
        model = Model(size: size)
        truth = Truth(size: size)
        (disk, store) = try makeStore(BitmapStoreTests.disk("source", size: size))
    }

    /// Does it to both.
    ///
    /// - Returns: what the model and the store refused it with.
    func apply(_ operation: Operation) -> (expected: String?, found: String?) {
        let before = model
        let expected = model.apply(operation)
        if expected == nil {
            truth.note(operation, before, model)
            suspect(operation, before)
            flaw = truth.flaw(in: model) ?? truth.flaw(after: operation, before, model)
        }
        do {
            try perform(operation)
            return (expected, nil)
        } catch {
            return (expected, (error as! BitmapStoreError).caseName)
        }
    }

    private func suspect(_ operation: Operation, _ before: Model) {
        switch operation {
        case .touch(let target):
            for bitmap in model.state.bitmaps
            where bitmap.targets.contains(where: { $0.name == target }) {
                suspects.insert([bitmap.name, target])
            }
        case .add(let name, _, _, _): suspects = suspects.filter { $0[0] != name }
        case .forgetTarget(let name, let target): suspects.remove([name, target])
        case .finish(let id, let ending, _):
            let job = before.state.jobs.first { $0.id == id }!
            let isFull = before.full[id]!
            if let name = job.bitmap, ending == .success {
                suspects.remove([name, job.target])
            }
            guard ending == .success, isFull else { return }
            // A full mirror without a bitmap, too, clears all suspicion.
            for bitmap in model.state.bitmaps {
                let target = bitmap.targets.first { $0.name == job.target }
                if target?.witness == model.writes[job.target] {
                    suspects.remove([bitmap.name, job.target])
                }
            }
        default: break
        }
    }

    private func perform(_ operation: Operation) throws {
        switch operation {
        case .add(let name, let shift, let disabled, let bits):
            try store.add(
                name, granularity: Granularity(bytes: 1 << Int64(shift)), disabled: disabled,
                bits: bits?.bitmap())
        case .remove(let name): try store.remove(name)
        case .clear(let name): try store.clear(name)
        case .setRecording(let name, let isOn): try store.setRecording(name, isOn)
        case .mark(let name, let ranges):
            try store.mark(name, ranges.map { Int64($0.lowerBound)..<Int64($0.upperBound) })
        case .merge(let name, let names): try store.merge(into: name, from: names)
        case .bringIn(let name, let bits): try store.merge(into: name, bits: bits.bitmap())
        case .begin(let name, let kind, let mode, let target, let working, let vouched):
            var request = JobRequest(
                mode: kind, bitmap: name.map { .stored($0) }, bitmapMode: mode,
                source: try store.device(), sourcePath: "source",
                target: BitmapStoreTests.disk(target, size: model.size),
                targetPath: FilePath(target))
            request.targetWitness = witness(model.writes[target]!)
            request.allowsUnknownTarget = vouched
            let job: StoreJob
            if let working {
                job = try store.beginJob(request, working: working.bitmap())
            } else {
                job = try store.beginJob(request)
            }
            jobs[job.record.id] = job
        case .checkpoint(let id, let bits): try jobs[id]!.checkpoint(bits.bitmap())
        case .finish(let id, let ending, let bits):
            let job = jobs[id]!
            let found = witness(model.writes[job.record.targetPath.string]!)
            let isUnchanged = !model.overtaken.contains(id)
            if let bits {
                try job.finish(
                    ending, remaining: bits.bitmap(), targetWitness: found,
                    sourceUnchanged: isUnchanged)
            } else {
                try job.finish(ending, targetWitness: found, sourceUnchanged: isUnchanged)
            }
            jobs[id] = nil
        case .touch: break
        case .forgetTarget(let name, let target):
            try store.forgetTargets(of: .stored(name)) { $0.path.string == target }
        case .die(let id): jobs[id] = nil
        case .resume(let id):
            let job = try store.jobs().first { $0.id == id }!
            jobs[id] = try store.resumeJob(
                id, job.again { $0.targetWitness = witness(model.writes[job.targetPath.string]!) })
        case .forget(let id): try store.forgetJobs { $0.id == id }
        case .record(let name): sessions[name] = try store.record(name)
        case .note(let name, let range):
            sessions[name]?.set(Int64(range.lowerBound)..<Int64(range.upperBound))
        case .close(let name):
            try sessions[name]?.close()
            sessions[name] = nil
        case .dieRecording(let name): sessions[name] = nil
        }
    }

    func reopen() throws { store = try openStore(disk) }

    /// Something that may happen next.
    func anything(_ random: inout SeededGenerator) -> Operation {
        let name = Self.names.randomElement(using: &random)!
        let some = Self.names.filter { _ in Bool.random(using: &random) }
        let live = model.running.sorted()
        let all = model.state.jobs.map(\.id)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<12:
            return .add(
                name, shift: shifts.randomElement(using: &random)!,
                disabled: random.chance(percent: 10),
                bits: random.chance(percent: 40) ? bits(&random) : nil)
        case 12..<15: return .remove(name)
        case 15..<18: return .clear(name)
        case 18..<23: return .setRecording(name, random.chance(percent: 75))
        case 23..<29: return .merge(name, some)
        case 29..<33: return .bringIn(name, bits(&random))
        case 33..<46: return begin(name, &random)
        case 46..<56 where !live.isEmpty:
            return .checkpoint(live.randomElement(using: &random)!, bits(&random))
        case 56..<64 where !live.isEmpty:
            return .finish(
                live.randomElement(using: &random)!,
                random.chance(percent: 60) ? .success : .failure,
                random.chance(percent: 50) ? bits(&random) : nil)
        case 64..<68 where !live.isEmpty: return .die(live.randomElement(using: &random)!)
        case 68..<74 where !all.isEmpty: return .resume(all.randomElement(using: &random)!)
        case 74..<76 where !all.isEmpty: return .forget(all.randomElement(using: &random)!)
        case 76..<79: return .record(name)
        case 79..<82: return .note(name, range(&random))
        case 82..<84: return .close(name)
        case 84..<85: return .dieRecording(name)
        case 85..<86: return .forgetTarget(name, Self.targets.randomElement(using: &random)!)
        case 86..<88:
            let busy = model.state.jobs.filter { model.running.contains($0.id) }.map(\.target)
            let idle = Self.targets.filter { !busy.contains($0) }
            return idle.randomElement(using: &random).map { .touch($0) } ?? .mark(name, [])
        default:
            return .mark(
                name, (0..<Int.random(in: 1...3, using: &random)).map { _ in range(&random) })
        }
    }

    private func begin(_ name: String, _ random: inout SeededGenerator) -> Operation {
        let mode = BitmapMode.allCases.randomElement(using: &random)!
        let target = Self.targets.randomElement(using: &random)!
        let isFull = random.chance(percent: 35)
        var working: ModelBits?
        guard random.chance(percent: 80) else {
            if !isFull { working = bits(&random) }
            return .begin(
                nil, isFull ? .full : .incremental, mode, target: target, working: working,
                vouched: false)
        }
        if isFull, random.chance(percent: 60) {
            let shift = shifts.randomElement(using: &random)!
            working = ModelBits(size: model.size, shift: shift, all: true)
        }
        return .begin(
            name, isFull ? .full : .incremental, mode, target: target, working: working,
            vouched: random.chance(percent: 50))
    }

    private func range(_ random: inout SeededGenerator) -> Range<Int> {
        let size = model.size
        if random.chance(percent: 10) { return 0..<size }
        let start = Int.random(in: 0..<size, using: &random)
        let length = random.chance(percent: 80) ? 2000 : size
        return start..<min(size, start + Int.random(in: 0...length, using: &random))
    }

    private func bits(_ random: inout SeededGenerator) -> ModelBits {
        var bits = ModelBits(size: model.size, shift: shifts.randomElement(using: &random)!)
        for _ in 0..<Int.random(in: 0...3, using: &random) { bits.set(range(&random)) }
        return bits
    }
}

extension BitmapStoreError {
    /// Such as `noSuchBitmap`.
    var caseName: String { String("\(Mirror(reflecting: self).children.first?.label ?? "?")") }
}
