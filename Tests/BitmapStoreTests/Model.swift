@testable import BitmapStore

/// What can happen to a store.
enum Operation: CustomStringConvertible {
    case add(String, shift: Int, disabled: Bool, bits: ModelBits? = nil)
    case remove(String)
    case clear(String)
    case setRecording(String, Bool)
    case mark(String, [Range<Int>])
    case merge(String, [String])
    case bringIn(String, ModelBits)
    case begin(String?, JobMode, BitmapMode, target: String, working: ModelBits?, vouched: Bool)
    case checkpoint(UInt64, ModelBits)
    case finish(UInt64, JobEnding, ModelBits?)
    case die(UInt64)
    case resume(UInt64)
    case forget(UInt64)
    case record(String)
    case note(String, Range<Int>)
    case close(String)
    case dieRecording(String)
    case forgetTarget(String, String)
    /// Something else writes to a target.
    case touch(String)

    var description: String {
        switch self {
        case .add(let name, let shift, let disabled, let bits):
            "add \(name) \(shift) \(disabled) \(bits?.description ?? "")"
        case .remove(let name): "remove \(name)"
        case .clear(let name): "clear \(name)"
        case .setRecording(let name, let isOn): "recording \(name) \(isOn)"
        case .mark(let name, let ranges): "mark \(name) \(ranges)"
        case .merge(let name, let names): "merge \(names) into \(name)"
        case .bringIn(let name, let bits): "import \(bits) into \(name)"
        case .begin(let name, let kind, let mode, let target, let working, let vouched):
            "begin \(kind) on \(name ?? "-") \(mode) to \(target) \(vouched) "
                + (working?.description ?? "")
        case .checkpoint(let id, let bits): "checkpoint \(id) \(bits)"
        case .finish(let id, let ending, let bits):
            "finish \(id) \(ending) \(bits?.description ?? "")"
        case .die(let id): "die \(id)"
        case .resume(let id): "resume \(id)"
        case .forget(let id): "forget \(id)"
        case .record(let name): "record \(name)"
        case .note(let name, let range): "note \(name) \(range)"
        case .close(let name): "close \(name)"
        case .dieRecording(let name): "die recording \(name)"
        case .forgetTarget(let name, let target): "forget \(target) of \(name)"
        case .touch(let target): "touch \(target)"
        }
    }
}

/// The rules of docs/bitmap-store.md once more, with whole bitmaps instead of pages: too simple
/// to be wrong.
struct Model {
    let size: Int
    private(set) var state = Snapshot()
    /// Jobs that live.
    private(set) var running: Set<UInt64> = []
    /// What living recorders hold in memory.
    private(set) var noted: [String: ModelBits] = [:]
    /// How often each target was written.
    private(set) var writes: [String: Int] = ["x": 1, "y": 1, "z": 1]
    /// Which jobs copy everything.
    private(set) var full: [UInt64: Bool] = [:]
    /// Jobs since whose beginning something was marked, in whatever bitmap.
    private(set) var overtaken: Set<UInt64> = []
    private var nextID: UInt64 = 1

    private struct Refusal: Error { let name: String }

    init(size: Int) { self.size = size }

    /// - Returns: the name of the refusal that is expected; nothing has changed then.
    mutating func apply(_ operation: Operation) -> String? {
        let before = self
        do {
            try perform(operation)
            return nil
        } catch {
            self = before
            return (error as! Refusal).name
        }
    }

    private mutating func perform(_ operation: Operation) throws {
        switch operation {
        case .add(let name, let shift, let disabled, let bits):
            guard find(name) == nil else { throw Refusal(name: "nameTaken") }
            _ = takeID()
            var marks = ModelBits(size: size, shift: shift)
            if let bits { marks.merge(bits) }
            state.bitmaps.append(
                .init(name: name, state: disabled ? .disabled : .recording, bits: marks))
        case .remove(let name):
            let index = try index(name)
            try requireIdle(name)
            dropRecords(name)
            state.bitmaps.remove(at: index)
        case .clear(let name):
            let index = try idle(name)
            dropRecords(name)
            let old = state.bitmaps[index].bits
            for place in state.bitmaps[index].targets.indices {
                state.bitmaps[index].targets[place].lacked.merge(old)
            }
            state.bitmaps[index].bits = ModelBits(size: size, shift: old.shift)
        case .setRecording(let name, let isOn):
            state.bitmaps[try idle(name)].state = isOn ? .recording : .disabled
            for place in state.jobs.indices where state.jobs[place].bitmap == name && !isOn {
                state.jobs[place].isUnrecorded = true
            }
        case .mark(let name, let ranges):
            let index = try index(name)
            recover(name)
            try requireConsistent(name)
            guard state.bitmaps[index].state != .disabled else { throw Refusal(name: "disabled") }
            everywhere(name) { bits in for range in ranges { bits.set(range) } }
            overtaken.formUnion(state.jobs.map(\.id))
        case .merge(let name, let names):
            let index = try idle(name)
            for other in names {
                _ = try self.index(other)
                recover(other)
                try requireConsistent(other)
            }
            for other in names where find(other) != index {
                let bits = state.bitmaps[try self.index(other)].bits
                everywhere(name) { $0.merge(bits) }
            }
        case .bringIn(let name, let bits):
            _ = try idle(name)
            everywhere(name) { $0.merge(bits) }
        default: try performJob(operation)
        }
    }

    private mutating func performJob(_ operation: Operation) throws {
        switch operation {
        case .begin(let name, let kind, let mode, let target, let working, let vouched):
            try begin(name, kind, mode, target, working, vouched)
        case .checkpoint(let id, let bits):
            let index = try job(id)
            state.jobs[index].remaining = bits
            writes[state.jobs[index].target]! += 1
        case .finish(let id, let ending, let bits):
            try finish(id, ending, bits)
        case .die(let id):
            running.remove(id)
            writes[state.jobs[try job(id)].target]! += 1
        case .touch(let target): writes[target]! += 1
        case .forgetTarget(let name, let target): try forgetTarget(name, target)
        case .resume(let id): try resume(id)
        case .forget(let id):
            guard let index = state.jobs.firstIndex(where: { $0.id == id }), !running.contains(id)
            else { return }
            if state.jobs[index].isOpen { endInFailure(index, nil) }
            state.jobs.remove(at: index)
        case .record(let name):
            let index = try index(name)
            recover(name)
            try requireConsistent(name)
            guard state.bitmaps[index].state == .recording else { throw Refusal(name: "disabled") }
            guard noted[name] == nil else { throw Refusal(name: "busy") }
            _ = takeID()
            state.recorded.append(name)
            noted[name] = ModelBits(size: size, shift: state.bitmaps[index].bits.shift)
        case .note(let name, let range):
            noted[name]?.set(range)
            overtaken.formUnion(state.jobs.map(\.id))
        case .close(let name):
            guard let bits = noted[name] else { return }
            everywhere(name) { $0.merge(bits) }
            state.recorded.removeAll { $0 == name }
            noted[name] = nil
        case .dieRecording(let name): noted[name] = nil
        default: break
        }
    }

    private mutating func begin(
        _ name: String?, _ kind: JobMode, _ mode: BitmapMode, _ target: String,
        _ working: ModelBits?, _ isVouched: Bool
    ) throws {
        if let name {
            _ = try index(name)
            try requireNoJob(name)
            recover(name)
            if kind == .full { beginAnew(try index(name)) }
            try requireConsistent(name)
        }
        for job in state.jobs where job.target == target {
            if running.contains(job.id) { throw Refusal(name: "targetBusy") }
            if job.isOpen { endInFailure(try self.job(job.id), nil) }
            state.jobs.removeAll { $0.id == job.id }
        }
        let bitmap = try name.map { state.bitmaps[try index($0)] }
        var bits = working ?? ModelBits(size: size, shift: 16, all: true)
        if let bitmap, kind == .incremental {
            let known = bitmap.targets.first { $0.name == target }
            if known == nil, !bitmap.targets.isEmpty, !isVouched {
                throw Refusal(name: "unknownTarget")
            }
            bits = bitmap.bits
            if let known { bits.merge(known.lacked) }
        }
        look(at: target)
        let id = takeID()
        running.insert(id)
        state.jobs.append(
            .init(
                id: id, bitmap: name, bitmapMode: mode, target: target, isOpen: true,
                taken: name == nil ? nil : bits, remaining: bits,
                marked: bitmap.map { ModelBits(size: size, shift: $0.bits.shift) },
                witness: writes[target], isUnrecorded: bitmap?.state == .disabled))
        full[id] = kind == .full
    }

    private mutating func finish(_ id: UInt64, _ ending: JobEnding, _ bits: ModelBits?) throws {
        let index = try job(id)
        running.remove(id)
        writes[state.jobs[index].target]! += 1
        if let bits { state.jobs[index].remaining = bits }
        guard ending == .success else {
            endInFailure(index, writes[state.jobs[index].target])
            return
        }
        if bits == nil {
            let shift = state.jobs[index].remaining.shift
            state.jobs[index].remaining = ModelBits(size: size, shift: shift)
        }
        let job = state.jobs.remove(at: index)
        let found = writes[job.target]
        let isMirror = full[id]! && job.remaining.dirtyBytes == 0
        let isOvertaken = overtaken.contains(id)
        everyTarget(job.target) { target in
            if isMirror, !isOvertaken {
                target.lacked = ModelBits(size: target.lacked.size, shift: target.lacked.shift)
            }
            if isMirror || target.witness == job.witness { target.witness = found }
        }
        settle(job, keeping: ModelBits(size: size, shift: job.remaining.shift))
        guard let bitmap = job.bitmap.flatMap({ find($0) }) else { return }
        var target = state.bitmaps[bitmap].targets.first { $0.name == job.target }!
        state.bitmaps[bitmap].targets.removeAll { $0.name == job.target }
        target.isMirror = true
        target.witness = writes[job.target]
        state.bitmaps[bitmap].targets.append(target)
    }

    private mutating func endInFailure(_ index: Int, _ witness: Int?) {
        state.jobs[index].isOpen = false
        let job = state.jobs[index]
        if job.bitmapMode == .always { settle(job, keeping: job.remaining) }
        everyTarget(job.target) { if $0.witness == job.witness { $0.witness = witness } }
        state.jobs[index].witness = witness
    }

    /// - Parameter kept: not to be taken away from the bitmap.
    private mutating func settle(_ job: Snapshot.Job, keeping kept: ModelBits) {
        guard let bitmap = job.bitmap.flatMap({ find($0) }) else { return }
        let old = state.bitmaps[bitmap].bits
        if job.bitmapMode != .never, state.bitmaps[bitmap].state != .inconsistent {
            // Everything is everything at any granularity, so that it is rounded at the finest.
            let isWhole = job.taken!.bits.allSatisfy { $0 }
            let taken = isWhole ? ModelBits(size: size, shift: old.shift, all: true) : job.taken!
            var left = ModelBits(size: size, shift: taken.shift)
            left.merge(kept)
            state.bitmaps[bitmap].bits.subtract(taken.subtracting(left))
            state.bitmaps[bitmap].bits.merge(job.marked!)
        }
        var lacked = ModelBits(size: size, shift: old.shift)
        lacked.merge(job.remaining)
        if !state.bitmaps[bitmap].targets.contains(where: { $0.name == job.target }) {
            state.bitmaps[bitmap].targets.append(
                .init(name: job.target, lacked: lacked, isMirror: false, witness: job.witness))
        }
        for place in state.bitmaps[bitmap].targets.indices {
            if state.bitmaps[bitmap].targets[place].name == job.target {
                state.bitmaps[bitmap].targets[place].lacked = lacked
            } else if state.bitmaps[bitmap].bits != old {
                state.bitmaps[bitmap].targets[place].lacked.merge(old)
            }
        }
    }

    /// A job begins on a target. Where one has died, how it is now is known from then on.
    private mutating func look(at target: String) {
        let found = writes[target]
        everyTarget(target) { if $0.witness == nil { $0.witness = found } }
    }

    private mutating func everyTarget(_ name: String, _ change: (inout Snapshot.Target) -> Void) {
        for bitmap in state.bitmaps.indices {
            for place in state.bitmaps[bitmap].targets.indices
            where state.bitmaps[bitmap].targets[place].name == name {
                change(&state.bitmaps[bitmap].targets[place])
            }
        }
    }

    private mutating func discard(_ job: Snapshot.Job) {
        if job.isOpen {
            everyTarget(job.target) { if $0.witness == job.witness { $0.witness = nil } }
        }
        state.jobs.removeAll { $0.id == job.id }
    }

    private mutating func forgetTarget(_ name: String, _ target: String) throws {
        let index = try index(name)
        recoverJobs(name)
        guard state.bitmaps[index].targets.contains(where: { $0.name == target }) else { return }
        for job in state.jobs where job.bitmap == name && job.target == target {
            if running.contains(job.id) { throw Refusal(name: "targetBusy") }
            discard(job)
        }
        state.bitmaps[index].targets.removeAll { $0.name == target }
    }

    private mutating func resume(_ id: UInt64) throws {
        let index = try job(id)
        guard !running.contains(id) else { throw Refusal(name: "jobRunning") }
        if let name = state.jobs[index].bitmap {
            try requireNoJob(name)
            recover(name)
            try requireConsistent(name)
        } else if state.jobs[index].isOpen {
            endInFailure(index, nil)
        }
        running.insert(id)
        look(at: state.jobs[index].target)
        state.jobs[index].isOpen = true
        state.jobs[index].witness = writes[state.jobs[index].target]
        let job = state.jobs[index]
        guard let name = job.bitmap, let taken = job.taken, let marked = job.marked else { return }
        let bitmap = try self.index(name)
        state.jobs[index].isUnrecorded = state.bitmaps[bitmap].state == .disabled
        let newTaken = taken.merging(marked)
        // All that T claims and did not claim before has to be copied.
        state.jobs[index].remaining.merge(marked)
        state.jobs[index].remaining.merge(newTaken.subtracting(taken))
        state.jobs[index].taken = newTaken
        state.jobs[index].marked = ModelBits(size: size, shift: marked.shift)
        state.bitmaps[bitmap].bits.merge(marked)
    }

    private mutating func takeID() -> UInt64 {
        defer { nextID += 1 }
        return nextID
    }

    private func find(_ name: String) -> Int? { state.bitmaps.firstIndex { $0.name == name } }

    private func index(_ name: String) throws -> Int {
        guard let index = find(name) else { throw Refusal(name: "noSuchBitmap") }
        return index
    }

    private func job(_ id: UInt64) throws -> Int {
        guard let index = state.jobs.firstIndex(where: { $0.id == id }) else {
            throw Refusal(name: "noSuchJob")
        }
        return index
    }

    private mutating func idle(_ name: String) throws -> Int {
        let index = try index(name)
        try requireIdle(name)
        recover(name)
        try requireConsistent(name)
        return index
    }

    private func requireNoJob(_ name: String) throws {
        if state.jobs.contains(where: { $0.bitmap == name && running.contains($0.id) }) {
            throw Refusal(name: "busy")
        }
    }

    private func requireIdle(_ name: String) throws {
        try requireNoJob(name)
        if noted[name] != nil { throw Refusal(name: "busy") }
    }

    /// What an inconsistent bitmap should have, nobody knows: everything, for all its targets,
    /// until a full mirror has ended.
    private mutating func beginAnew(_ index: Int) {
        guard state.bitmaps[index].state == .inconsistent else { return }
        state.bitmaps[index].state = .recording
        state.bitmaps[index].bits = ModelBits(
            size: size, shift: state.bitmaps[index].bits.shift, all: true)
        for place in state.bitmaps[index].targets.indices {
            state.bitmaps[index].targets[place].lacked = ModelBits(
                size: size, shift: state.bitmaps[index].targets[place].lacked.shift, all: true)
        }
        for place in state.jobs.indices where state.jobs[place].bitmap == state.bitmaps[index].name
        {
            state.jobs[place].isUnrecorded = true
        }
    }

    private func requireConsistent(_ name: String) throws {
        if state.bitmaps[try index(name)].state == .inconsistent {
            throw Refusal(name: "inconsistent")
        }
    }

    private mutating func recoverRecorder(_ name: String) {
        guard state.recorded.contains(name), noted[name] == nil, let index = find(name) else {
            return
        }
        state.bitmaps[index].state = .inconsistent
        state.recorded.removeAll { $0 == name }
    }

    private mutating func recover(_ name: String) {
        recoverRecorder(name)
        recoverJobs(name)
    }

    private mutating func recoverJobs(_ name: String) {
        for index in state.jobs.indices
        where state.jobs[index].bitmap == name && state.jobs[index].isOpen
            && !running.contains(state.jobs[index].id)
        {
            endInFailure(index, nil)
        }
    }

    private mutating func dropRecords(_ name: String) {
        for job in state.jobs where job.bitmap == name { discard(job) }
        state.recorded.removeAll { $0 == name }
    }

    private mutating func everywhere(_ name: String, _ change: (inout ModelBits) -> Void) {
        guard let index = find(name) else { return }
        change(&state.bitmaps[index].bits)
        for place in state.jobs.indices where state.jobs[place].bitmap == name {
            change(&state.jobs[place].marked!)
        }
    }
}
