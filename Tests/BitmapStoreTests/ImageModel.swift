@testable import BitmapStore

/// What can happen to a bitmap in an image, whose targets and jobs a store keeps.
enum ImageOperation: CustomStringConvertible {
    /// A virtual machine writes to the image, which marks it.
    case write(Range<Int>)
    case begin(JobMode, BitmapMode, target: String, working: ModelBits?, vouched: Bool)
    case checkpoint(UInt64, ModelBits)
    /// What remains is told with the end, or was by the last checkpoint.
    ///
    /// - Parameter clears: whether the process lives until it has cleared the image's bitmap.
    case finish(UInt64, JobEnding, ModelBits?, clears: Bool)
    case die(UInt64)
    case resume(UInt64)
    case forget(UInt64)
    case forgetTarget(String)
    case clear(clears: Bool)
    /// The bitmap is removed, and another one made that has its name.
    case remake(shift: Int)
    /// Something that knows no store does the same, or clears some of its marks.
    case foreign(ModelBits)

    var description: String {
        switch self {
        case .write(let range): "write \(range)"
        case .begin(let kind, let mode, let target, let working, let vouched):
            "begin \(kind) \(mode) to \(target) \(vouched) \(working?.description ?? "")"
        case .checkpoint(let id, let bits): "checkpoint \(id) \(bits)"
        case .finish(let id, let ending, let bits, let clears):
            "finish \(id) \(ending) \(bits?.description ?? "") \(clears)"
        case .die(let id): "die \(id)"
        case .resume(let id): "resume \(id)"
        case .forget(let id): "forget \(id)"
        case .forgetTarget(let target): "forget \(target)"
        case .clear(let clears): "clear \(clears)"
        case .remake(let shift): "remake \(shift)"
        case .foreign(let bits): "foreign \(bits)"
        }
    }
}

/// The rules for a bitmap in an image with whole bitmaps, and what the image has marked.
struct ImageModel {
    let size: Int
    /// As it is in the image.
    private(set) var marks: ModelBits
    /// What the store knows of it; nil: nothing.
    private(set) var bitmap: Snapshot.Bitmap?
    /// No mark was ever taken out of it: all else is kept in mind for good.
    private var isWhole = true
    private(set) var jobs: [Snapshot.Job] = []
    /// The job that lives.
    private(set) var running: UInt64?
    private(set) var full: Set<UInt64> = []
    private var nextID: UInt64 = 1

    struct Refusal: Error { let name: String }

    init(size: Int, shift: Int) {
        self.size = size
        marks = ModelBits(size: size, shift: shift)
    }

    var state: Snapshot {
        var snapshot = Snapshot()
        if let bitmap { snapshot.imageBitmaps = [bitmap] }
        snapshot.jobs = jobs
        return snapshot
    }

    /// Whether the store must see that something else has taken marks away.
    var isRemade: Bool { bitmap.map { !marks.contains($0.bits) } ?? false }

    /// - Returns: the name of the refusal that is expected; nothing has changed then.
    mutating func apply(_ operation: ImageOperation) -> String? {
        let before = self
        do {
            try perform(operation)
            // A bitmap of which nothing is left to tell.
            if bitmap?.targets.isEmpty == true, jobs.isEmpty, isWhole { bitmap = nil }
            if bitmap == nil { isWhole = true }
            return nil
        } catch {
            self = before
            return (error as! Refusal).name
        }
    }

    private mutating func perform(_ operation: ImageOperation) throws {
        switch operation {
        case .write(let range): marks.set(range)
        case .begin(let kind, let mode, let target, let working, let vouched):
            try begin(kind, mode, target, working, vouched)
        case .checkpoint(let id, let bits): jobs[index(id)].remaining = bits
        case .finish(let id, let ending, let bits, let clears): finish(id, ending, bits, clears)
        case .die: running = nil
        case .resume(let id): try resume(id)
        case .forget(let id):
            if running == id { return }
            isWhole = false
            if jobs[index(id)].isOpen { endInFailure(index(id)) }
            jobs.removeAll { $0.id == id }
        case .forgetTarget(let target):
            recover()
            guard bitmap!.targets.contains(where: { $0.name == target }) else { return }
            isWhole = false
            jobs.removeAll { $0.target == target }
            bitmap!.targets.removeAll { $0.name == target }
        case .clear(let clears):
            if bitmap != nil {
                adopt()
                if !jobs.isEmpty || marks.bits.contains(true) { isWhole = false }
                jobs = []
                addToLacks(marks, exceptFor: nil)
                bitmap!.bits = ModelBits(size: size, shift: marks.shift)
            }
            if clears { marks = ModelBits(size: size, shift: marks.shift) }
        case .remake(let shift):
            bitmap = nil
            jobs = []
            marks = ModelBits(size: size, shift: shift)
        case .foreign(let bits): marks = bits
        }
    }

    private func index(_ id: UInt64) -> Int { jobs.firstIndex { $0.id == id }! }

    /// What the image has marked is read.
    private mutating func adopt() {
        if isRemade {
            bitmap = nil
            jobs = []
            isWhole = false
        } else if bitmap == nil {
            isWhole = true
        }
        recover()
        if bitmap == nil {
            _ = takeID()
            bitmap = .init(name: "b", state: .recording, bits: marks)
        }
        note()
    }

    private mutating func note() {
        bitmap!.bits = marks
        for place in jobs.indices { jobs[place].marked!.merge(marks) }
    }

    private mutating func begin(
        _ kind: JobMode, _ mode: BitmapMode, _ target: String, _ working: ModelBits?,
        _ isVouched: Bool
    ) throws {
        if running != nil { throw Refusal(name: "busy") }
        adopt()
        jobs.removeAll { $0.target == target }
        let known = bitmap!.targets.first { $0.name == target }
        var bits = working ?? ModelBits(size: size, shift: 16, all: true)
        if kind == .incremental {
            if known == nil, !bitmap!.targets.isEmpty, !isVouched {
                throw Refusal(name: "unknownTarget")
            }
            bits = marks.merging(known?.lacked ?? marks)
        }
        let id = takeID()
        running = id
        if kind == .full { full.insert(id) }
        jobs.append(
            .init(
                id: id, bitmap: "b", bitmapMode: mode, target: target, isOpen: true, taken: bits,
                remaining: bits, marked: ModelBits(size: size, shift: marks.shift)))
    }

    private mutating func resume(_ id: UInt64) throws {
        if running == id { throw Refusal(name: "jobRunning") }
        if running != nil { throw Refusal(name: "busy") }
        if isRemade { throw Refusal(name: "bitmapRemade") }
        recover()
        note()
        running = id
        let place = index(id)
        let job = jobs[place]
        jobs[place].isOpen = true
        jobs[place].taken!.merge(job.marked!)
        jobs[place].remaining.merge(job.marked!)
        jobs[place].remaining.merge(jobs[place].taken!.subtracting(job.taken!))
        jobs[place].marked = ModelBits(size: size, shift: marks.shift)
    }

    private mutating func finish(
        _ id: UInt64, _ ending: JobEnding, _ bits: ModelBits?, _ clears: Bool
    ) {
        let place = index(id)
        if let bits { jobs[place].remaining = bits }
        running = nil
        defer { if clears { marks = bitmap!.bits } }
        guard ending == .success else { return endInFailure(place) }
        var job = jobs.remove(at: place)
        job.remaining = ModelBits(size: size, shift: job.remaining.shift)
        settle(job)
        var target = bitmap!.targets.first { $0.name == job.target }!
        bitmap!.targets.removeAll { $0.name == job.target }
        target.isMirror = true
        bitmap!.targets.append(target)
    }

    private mutating func recover() {
        for place in jobs.indices where jobs[place].isOpen && jobs[place].id != running {
            endInFailure(place)
        }
    }

    private mutating func endInFailure(_ place: Int) {
        jobs[place].isOpen = false
        if jobs[place].bitmapMode == .always { settle(jobs[place]) }
    }

    /// What of a job is durable, rounded inward.
    private func done(_ job: Snapshot.Job) -> ModelBits {
        // Everything is everything at any granularity, so that it is rounded at the finest.
        let isWhole = job.taken!.bits.allSatisfy { $0 }
        let taken = isWhole ? ModelBits(size: size, shift: 9, all: true) : job.taken!
        var left = ModelBits(size: size, shift: taken.shift)
        left.merge(job.remaining)
        return taken.subtracting(left)
    }

    private mutating func settle(_ job: Snapshot.Job) {
        let old = bitmap!.bits
        if job.bitmapMode != .never { bitmap!.bits.subtract(done(job)) }
        var lacked = ModelBits(size: size, shift: old.shift)
        lacked.merge(job.remaining)
        if bitmap!.bits != old {
            isWhole = false
            addToLacks(old, exceptFor: job.target)
        }
        if let place = bitmap!.targets.firstIndex(where: { $0.name == job.target }) {
            bitmap!.targets[place].lacked = lacked
        } else {
            bitmap!.targets.append(.init(name: job.target, lacked: lacked, isMirror: false))
        }
    }

    private mutating func addToLacks(_ bits: ModelBits, exceptFor name: String?) {
        for place in bitmap!.targets.indices where bitmap!.targets[place].name != name {
            bitmap!.targets[place].lacked.merge(bits)
        }
    }

    private mutating func takeID() -> UInt64 {
        defer { nextID += 1 }
        return nextID
    }
}

extension ModelBits {
    /// Of another granularity it has nothing.
    func contains(_ other: ModelBits) -> Bool {
        shift == other.shift && zip(bits, other.bits).allSatisfy { $0 || !$1 }
    }
}
