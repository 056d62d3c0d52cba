@testable import BitmapStore

/// What can happen to a store.
enum Operation: CustomStringConvertible {
    case add(String, shift: Int, disabled: Bool)
    case remove(String)
    case clear(String)
    case setRecording(String, Bool)
    case mark(String, [Range<Int>])
    case merge(String, [String])
    case bringIn(String, ModelBits)
    case begin(String?, BitmapMode, target: String, working: ModelBits?)
    case checkpoint(UInt64, ModelBits)
    case finish(UInt64, JobEnding, ModelBits?)
    case die(UInt64)
    case resume(UInt64)
    case forget(UInt64)
    case record(String)
    case note(String, Range<Int>)
    case close(String)
    case dieRecording(String)

    var description: String {
        switch self {
        case .add(let name, let shift, let disabled): "add \(name) \(shift) \(disabled)"
        case .remove(let name): "remove \(name)"
        case .clear(let name): "clear \(name)"
        case .setRecording(let name, let isOn): "recording \(name) \(isOn)"
        case .mark(let name, let ranges): "mark \(name) \(ranges)"
        case .merge(let name, let names): "merge \(names) into \(name)"
        case .bringIn(let name, let bits): "import \(bits) into \(name)"
        case .begin(let name, let mode, let target, let working):
            "begin on \(name ?? "-") \(mode) to \(target) \(working?.description ?? "")"
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
        case .add(let name, let shift, let disabled):
            guard find(name) == nil else { throw Refusal(name: "nameTaken") }
            _ = takeID()
            state.bitmaps.append(
                .init(
                    name: name, state: disabled ? .disabled : .recording,
                    bits: ModelBits(size: size, shift: shift)))
        case .remove(let name):
            let index = try index(name)
            try requireIdle(name)
            dropRecords(name)
            state.bitmaps.remove(at: index)
        case .clear(let name):
            let index = try index(name)
            try requireIdle(name)
            recoverRecorder(name)
            try requireConsistent(name)
            dropRecords(name)
            state.bitmaps[index].bits = ModelBits(
                size: size, shift: state.bitmaps[index].bits.shift)
        case .setRecording(let name, let isOn):
            state.bitmaps[try idle(name)].state = isOn ? .recording : .disabled
        case .mark(let name, let ranges):
            let index = try index(name)
            recover(name)
            try requireConsistent(name)
            guard state.bitmaps[index].state != .disabled else { throw Refusal(name: "disabled") }
            everywhere(name) { bits in for range in ranges { bits.set(range) } }
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
        case .begin(let name, let mode, let target, let working):
            try begin(name, mode, target, working)
        case .checkpoint(let id, let bits):
            let index = try job(id)
            state.jobs[index].remaining = bits
        case .finish(let id, let ending, let bits):
            try finish(id, ending, bits)
        case .die(let id): running.remove(id)
        case .resume(let id): try resume(id)
        case .forget(let id):
            guard let index = state.jobs.firstIndex(where: { $0.id == id }), !running.contains(id)
            else { return }
            if state.jobs[index].isOpen { endInFailure(index) }
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
        case .note(let name, let range): noted[name]?.set(range)
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
        _ name: String?, _ mode: BitmapMode, _ target: String, _ working: ModelBits?
    ) throws {
        if let name {
            _ = try index(name)
            try requireNoJob(name)
            recover(name)
            try requireConsistent(name)
        }
        for job in state.jobs where job.target == target {
            if running.contains(job.id) { throw Refusal(name: "targetBusy") }
            if job.isOpen { endInFailure(try self.job(job.id)) }
            state.jobs.removeAll { $0.id == job.id }
        }
        let bitmap = try name.map { state.bitmaps[try index($0)].bits }
        let bits = working ?? bitmap ?? ModelBits(size: size, shift: 16, all: true)
        let id = takeID()
        running.insert(id)
        state.jobs.append(
            .init(
                id: id, bitmap: name, bitmapMode: mode, target: target, isOpen: true,
                taken: name == nil ? nil : bits, remaining: bits,
                marked: bitmap.map { ModelBits(size: size, shift: $0.shift) }))
    }

    private mutating func finish(_ id: UInt64, _ ending: JobEnding, _ bits: ModelBits?) throws {
        let index = try job(id)
        running.remove(id)
        if let bits { state.jobs[index].remaining = bits }
        guard ending == .success else {
            endInFailure(index)
            return
        }
        let job = state.jobs[index]
        if let bitmap = job.bitmap.flatMap({ find($0) }) {
            state.bitmaps[bitmap].lastTarget = job.target
            if job.bitmapMode != .never, state.bitmaps[bitmap].state != .inconsistent {
                state.bitmaps[bitmap].bits.subtract(job.taken!)
                state.bitmaps[bitmap].bits.merge(job.marked!)
                if let bits { state.bitmaps[bitmap].bits.merge(bits) }
            }
        }
        state.jobs.remove(at: index)
    }

    private mutating func resume(_ id: UInt64) throws {
        let index = try job(id)
        guard !running.contains(id) else { throw Refusal(name: "jobRunning") }
        if let name = state.jobs[index].bitmap {
            try requireNoJob(name)
            recover(name)
            try requireConsistent(name)
        }
        running.insert(id)
        state.jobs[index].isOpen = true
        let job = state.jobs[index]
        guard let name = job.bitmap, let taken = job.taken, let marked = job.marked else { return }
        let newTaken = taken.merging(marked)
        // All that T claims and did not claim before has to be copied.
        state.jobs[index].remaining.merge(marked)
        state.jobs[index].remaining.merge(newTaken.subtracting(taken))
        state.jobs[index].taken = newTaken
        state.jobs[index].marked = ModelBits(size: size, shift: marked.shift)
        state.bitmaps[try self.index(name)].bits.merge(marked)
    }

    private mutating func endInFailure(_ index: Int) {
        state.jobs[index].isOpen = false
        let job = state.jobs[index]
        guard job.bitmapMode == .always, let bitmap = job.bitmap.flatMap({ find($0) }),
            state.bitmaps[bitmap].state != .inconsistent
        else { return }
        state.bitmaps[bitmap].bits.subtract(job.taken!)
        state.bitmaps[bitmap].bits.merge(job.remaining)
        state.bitmaps[bitmap].bits.merge(job.marked!)
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
        for index in state.jobs.indices
        where state.jobs[index].bitmap == name && state.jobs[index].isOpen
            && !running.contains(state.jobs[index].id)
        {
            endInFailure(index)
        }
    }

    private mutating func dropRecords(_ name: String) {
        state.jobs.removeAll { $0.bitmap == name }
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
