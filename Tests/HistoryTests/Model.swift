/// What a careful onlooker knows of the disks of a history: the source's bytes, and for each target
/// what could have become different without anybody being able to tell.
struct Model {
    static let block = 512

    let setting: Setting
    var source: [UInt8]
    var isRecording = [true, true]
    /// Which file each target name leads to now; nil: none. A file that is made anew is another.
    var files: [Int?] = [nil, nil, nil]
    /// The file of the source, likewise.
    var sourceFile = 0
    private var filesMade = 0

    /// What is known about one bitmap and one target's file.
    struct Pair: Hashable {
        let bitmap: Int
        let file: Int
    }

    /// The pairs that a success has made known.
    var known: Set<Pair> = []
    /// Blocks that were written and that the bitmap did not hear of, since the target was last
    /// equal.
    private(set) var unheard: [Pair: Set<Int>] = [:]
    /// Blocks of which a full mirror that began, and did not succeed yet, could not hear.
    private(set) var unheardSinceBegin: [Int: Set<Int>] = [:]
    /// The bitmap of the full mirror that was begun last on a file.
    private var begun: [Int: Int?] = [:]
    /// Targets that something else wrote since a bitmap's last success on them, and how it could be
    /// told.
    var touched: [Pair: Trace] = [:]
    /// The bitmaps that did not hear of a write that the source's time tells, since their last
    /// success.
    var missed: Set<Int> = []
    /// What each bitmap has heard of since its last success, at least.
    var dirty: [Int: Set<Int>] = [0: [], 1: []]
    /// Files on which a job was killed: nobody knows how it left them.
    private var left: Set<Int> = []
    /// Files on which a job has failed, or which changed their size, or worse: a refusal is right.
    var odd: Set<Int> = []
    var isSourceOdd = false
    /// Files that a mirror did not come to its end on: they are no source of a restore.
    private(set) var halfMirrors: Set<Int> = []
    /// Files that a restore from did not come to its end: nothing is mirrored over them.
    private var halfRestores: Set<Int> = []

    init(_ setting: Setting) {
        self.setting = setting
        source = [UInt8](repeating: 0, count: setting.size)
    }

    mutating func newFile() -> Int {
        filesMade += 1
        return filesMade
    }

    static func blocks(_ range: Range<Int>) -> Set<Int> {
        range.isEmpty
            ? [] : Set(range.lowerBound / block...(range.upperBound - 1) / block)
    }

    /// The bitmaps that hear of a write with this marking.
    func hearing(_ marking: Marking) -> Set<Int> {
        let on = Set((0..<2).filter { isRecording[$0] })
        switch marking {
        case .all: return on
        case .none: return []
        case .only(let bitmap): return on.intersection([bitmap])
        }
    }

    /// The source was written, and these bitmaps have heard of it.
    mutating func wrote(_ range: Range<Int>, heard: Set<Int>, _ trace: Trace) {
        let blocks = Self.blocks(range)
        for bitmap in 0..<2 {
            if heard.contains(bitmap) {
                dirty[bitmap]?.formUnion(blocks)
                continue
            }
            for file in 0...filesMade {
                unheard[Pair(bitmap: bitmap, file: file), default: []].formUnion(blocks)
            }
            if trace == .visible { missed.insert(bitmap) }
        }
        for (file, bitmap) in begun {
            let hears = bitmap.map { heard.contains($0) } ?? (trace == .visible)
            if !hears { unheardSinceBegin[file, default: []].formUnion(blocks) }
        }
    }

    /// Something else wrote to a target's file.
    mutating func touch(_ file: Int, _ range: Range<Int>, _ trace: Trace) {
        let trace = left.contains(file) ? .hidden : trace
        let blocks = Self.blocks(range)
        for bitmap in 0..<2 {
            let pair = Pair(bitmap: bitmap, file: file)
            unheard[pair, default: []].formUnion(blocks)
            if touched[pair] != .visible { touched[pair] = trace }
        }
        unheardSinceBegin[file, default: []].formUnion(blocks)
    }

    /// A full mirror to the file begins: from now on it sees everything.
    private mutating func beginFull(_ file: Int, bitmap: Int?) {
        begun[file] = .some(bitmap)
        unheardSinceBegin[file] = []
    }

    /// A job on the file has succeeded, and this still differs.
    mutating func succeeded(_ job: Job, _ file: Int, differing: Set<Int>) {
        for bitmap in 0..<2 { unheard[Pair(bitmap: bitmap, file: file)] = differing }
        left.remove(file)
        halfMirrors.remove(file)
        if job.mode == .full || job.verifiesAll {
            begun[file] = nil
            odd.remove(file)
        }
        guard let bitmap = job.bitmap else { return }
        known.insert(Pair(bitmap: bitmap, file: file))
        touched[Pair(bitmap: bitmap, file: file)] = nil
        missed.remove(bitmap)
        if job.clearing != .never { dirty[bitmap] = [] }
    }

    /// Of the blocks in which a target differs after a success of this job, those that something
    /// told of.
    func told(_ differing: Set<Int>, _ job: Job, _ file: Int) -> Set<Int> {
        if job.verifiesAll { return differing }
        if job.mode == .full {
            return job.isResumed ? differing.subtracting(unheardSinceBegin[file] ?? []) : differing
        }
        guard let bitmap = job.bitmap else { return differing }
        let pair = Pair(bitmap: bitmap, file: file)
        // Of a target that the bitmap does not know, nothing is known but what its user said.
        guard known.contains(pair) else { return differing.intersection(dirty[bitmap] ?? []) }
        return differing.subtracting(unheard[pair] ?? [])
    }

    /// Whether comparing all of it finds what nothing told of.
    func differs(_ job: Job, _ file: Int) -> Bool {
        guard job.verifiesAll, let bitmap = job.bitmap else { return false }
        let pair = Pair(bitmap: bitmap, file: file)
        return !known.contains(pair) || !(unheard[pair] ?? []).isEmpty
    }

    /// A job on the file has not succeeded.
    mutating func failed(_ job: Job, _ file: Int, _ ending: Ending) {
        // What it took out of its bitmap, which then has less than it has heard of.
        if let bitmap = job.bitmap, job.clearing == .always || job.isResumed {
            dirty[bitmap] = []
        }
        halfMirrors.insert(file)
        if ending == .killed { left.insert(file) }
        let isKnown = job.bitmap.map { known.contains(Pair(bitmap: $0, file: file)) } ?? false
        if ending == .killed || job.mode == .full || job.isResumed || !isKnown {
            odd.insert(file)
        }
        if job.mode == .full, !job.isResumed { beginFull(file, bitmap: job.bitmap) }
    }

    /// The source was restored from a file, or in part.
    mutating func restored(from file: Int, isWhole: Bool) {
        if isWhole { halfRestores.remove(file) } else { halfRestores.insert(file) }
    }

    /// A bitmap was cleared: it lacks nothing now, and its known targets lack what it had. That the
    /// source was written before that may make a guard ask.
    mutating func cleared(_ bitmap: Int) {
        if dirty[bitmap] != [] { missed.insert(bitmap) }
        dirty[bitmap] = []
    }

    mutating func forgetTargets(of bitmap: Int) {
        known = known.filter { $0.bitmap != bitmap }
        for pair in unheard.keys where pair.bitmap == bitmap { unheard[pair] = nil }
        dirty[bitmap] = []
        missed.remove(bitmap)
    }

    /// Whether anything at all could make a guard suspicious of this job.
    func isSuspicious(_ job: Job, _ file: Int) -> Bool {
        if job.isResumed || job.vouches || isSourceOdd || odd.contains(file) { return true }
        if halfRestores.contains(file) { return true }
        if job.mode == .full { return false }
        guard let bitmap = job.bitmap else { return true }
        let pair = Pair(bitmap: bitmap, file: file)
        return !known.contains(pair) || touched[pair] != nil || missed.contains(bitmap)
            || !(unheard[pair] ?? []).isEmpty || !isRecording[bitmap]
    }
}
