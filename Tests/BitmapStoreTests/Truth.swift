@testable import BitmapStore

/// What really is on the source and its targets, sector by sector, while a store says what they
/// lack: every write to the source and every copy by a job, as numbers that are used once.
///
/// Each bitmap has a source of its own here, written wherever that bitmap is marked, because a
/// bitmap that is not marked knows nothing.
struct Truth {
    private let sectors: Int
    private var worlds: [String: World] = [:]
    private var last = 0
    /// What jobs have copied, by sector.
    private var copied: [UInt64: Set<Int>] = [:]
    /// What jobs without a bitmap took.
    private var taken: [UInt64: ModelBits] = [:]

    private struct World {
        var source: [Int]
        var targets: [String: [Int]] = [:]
    }

    init(size: Int) { sectors = (size + 511) / 512 }

    private mutating func number() -> Int {
        last += 1
        return last
    }

    /// Something has happened to the store that was not refused.
    mutating func note(_ operation: Operation, _ before: Model, _ after: Model) {
        switch operation {
        case .add(let name, _, _, _): worlds[name] = World(source: content())
        case .remove(let name): worlds[name] = nil
        case .mark(let name, let ranges): for range in ranges { write(range, name) }
        case .note(let name, let range): if after.noted[name] != nil { write(range, name) }
        case .begin(let name, let kind, _, let target, _, _):
            guard let job = after.state.jobs.last else { return }
            copied[job.id] = []
            taken[job.id] = job.remaining
            if let name, kind == .incremental { keepPromise(target, name, after) }
        case .checkpoint(let id, let bits): copy(id, before, except: bits)
        case .finish(let id, let ending, let bits):
            let job = before.state.jobs.first { $0.id == id }!
            let nothing = ModelBits(size: job.remaining.size, shift: job.remaining.shift)
            copy(id, before, except: bits ?? (ending == .success ? nothing : job.remaining))
        case .die(let id):
            // Anything of what remains may have arrived, too.
            let job = before.state.jobs.first { $0.id == id }!
            let salt = number()
            for sector in 0..<sectors
            where job.remaining.has(sector) && (sector &* 7 + salt) % 3 == 0 {
                copy(sector, to: job.target)
            }
        case .resume(let id):
            let job = after.state.jobs.first { $0.id == id }!
            for sector in 0..<sectors where job.remaining.has(sector) {
                copied[id]!.remove(sector)
            }
        default: break
        }
    }

    private mutating func content() -> [Int] { (0..<sectors).map { _ in number() } }

    private mutating func write(_ range: Range<Int>, _ name: String) {
        guard !range.isEmpty else { return }
        for sector in range.lowerBound / 512...(range.upperBound - 1) / 512 {
            worlds[name]!.source[sector] = number()
        }
    }

    /// The caller of an incremental job to an unknown target answers for it that it is as the
    /// source is, but where the bitmap is marked.
    private mutating func keepPromise(_ target: String, _ name: String, _ after: Model) {
        let bitmap = after.state.bitmaps.first { $0.name == name }!
        guard !bitmap.targets.contains(where: { $0.name == target }) else { return }
        var content = worlds[name]!.source
        for sector in 0..<sectors where bitmap.bits.has(sector) { content[sector] = number() }
        worlds[name]!.targets[target] = content
    }

    private mutating func copy(_ id: UInt64, _ before: Model, except remaining: ModelBits) {
        let job = before.state.jobs.first { $0.id == id }!
        let taken = job.taken ?? taken[id]!
        for sector in 0..<sectors {
            if remaining.has(sector) {
                copied[id]!.remove(sector)
            } else if taken.has(sector), copied[id]!.insert(sector).inserted {
                copy(sector, to: job.target)
            }
        }
    }

    private mutating func copy(_ sector: Int, to target: String) {
        for name in worlds.keys {
            if worlds[name]!.targets[target] == nil { worlds[name]!.targets[target] = content() }
            worlds[name]!.targets[target]![sector] = worlds[name]!.source[sector]
        }
    }

    /// The first sector in which a target differs from the source and that is in none of these.
    func difference(_ target: String, _ name: String, outside known: [ModelBits]) -> Int? {
        guard let world = worlds[name] else { return 0 }
        // What was never written has nothing of the source.
        let content = world.targets[target] ?? []
        return (0..<sectors).first { sector in
            (content.isEmpty || content[sector] != world.source[sector])
                && !known.contains { $0.has(sector) }
        }
    }

    /// A target of which a bitmap knows too little; nil: there is none.
    func flaw(in model: Model) -> String? {
        for bitmap in model.state.bitmaps where !model.isInconsistent(bitmap) {
            for target in bitmap.targets {
                let known = [bitmap.bits, target.lacked] + model.noted(bitmap)
                if let sector = difference(target.name, bitmap.name, outside: known) {
                    return "\(target.name) differs at sector \(sector), and \(bitmap.name) does "
                        + "not know it"
                }
            }
        }
        return nil
    }

    /// A sector that a successful job should have made equal.
    func flaw(after operation: Operation, _ before: Model, _ after: Model) -> String? {
        guard case .finish(let id, .success, let bits) = operation,
            let job = before.state.jobs.first(where: { $0.id == id }), let name = job.bitmap,
            let bitmap = after.state.bitmaps.first(where: { $0.name == name }),
            !after.isInconsistent(bitmap)
        else { return nil }
        let known = [job.marked!] + after.noted(bitmap) + (bits.map { [$0] } ?? [])
        return difference(job.target, name, outside: known).map {
            "\(job.target) is called a mirror by \(name), and differs at sector \($0)"
        }
    }
}

extension ModelBits {
    func has(_ sector: Int) -> Bool { bits[(sector * 512) >> shift] }
}

extension Model {
    /// Also if that has yet to be written down.
    func isInconsistent(_ bitmap: Snapshot.Bitmap) -> Bool {
        bitmap.state == .inconsistent
            || state.recorded.contains(bitmap.name) && noted[bitmap.name] == nil
    }

    /// What a living recorder owes to a bitmap.
    func noted(_ bitmap: Snapshot.Bitmap) -> [ModelBits] {
        noted[bitmap.name].map { [$0] } ?? []
    }
}
