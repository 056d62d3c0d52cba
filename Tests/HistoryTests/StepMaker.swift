import TestSupport

/// How the source keeps its bitmaps.
enum SourceKind: String, Sendable, CaseIterable {
    /// A raw image with a store beside it.
    case raw
    /// A qcow2 image with the bitmaps inside.
    case qcow2
}

/// What a history begins with.
struct Setting: Sendable {
    var source: SourceKind
    var size: Int
    /// Whether anything happens that the bitmaps don't hear of.
    var isHonest: Bool
    static let granularities = [4096, 16384]
    static let targets = 3
}

/// Makes histories by numbers that a seed determines.
struct StepMaker {
    private var random: SeededGenerator
    let setting: Setting

    init(seed: UInt64, source: SourceKind) {
        random = SeededGenerator(seed: seed)
        // Larger than what a sample of the beginning compares, but for a few.
        let sizes =
            source == .raw
            ? [3 << 20, (4 << 20) + 1536, 5 << 20, 65536, 600_064] : [3 << 20, 4 << 20, 655_360]
        setting = Setting(
            source: source, size: sizes.randomElement(using: &random)!,
            isHonest: random.chance(percent: 40))
    }

    mutating func steps() -> [Step] {
        var steps: [Step] = [
            .write(Stretch(offset: 0, count: setting.size), fill(zeros: 10), .all, .visible)
        ]
        let known = random.chance(percent: 80) ? Int.random(in: 1...3, using: &random) : 0
        for target in 0..<known {
            steps.append(.mirror(Job(mode: .full, target: target, bitmap: 0)))
        }
        for _ in 0..<Int.random(in: 4...14, using: &random) {
            steps.append(setting.isHonest ? honest() : any())
            guard case .mirror(let job) = steps.last, !job.surroundings.isQuiet else { continue }
            if random.chance(percent: 30) { steps.append(setting.isHonest ? honest() : any()) }
            if random.chance(percent: 50) { steps.append(.mirror(resumption(of: job))) }
        }
        return steps
    }

    private mutating func honest() -> Step {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: .write(stretch(), fill(zeros: 25), .all, .visible)
        case 35..<92: .mirror(job())
        case 92..<96: restore()
        case 96..<98: .clear(bitmap())
        default: .remove(target())
        }
    }

    private mutating func any() -> Step {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<18: .write(stretch(), fill(zeros: 25), .all, .visible)
        case 18..<26: .write(stretch(), fill(zeros: 25), marking(), trace())
        case 26..<66: .mirror(job())
        case 66..<70: restore()
        case 70..<72: .resizeSource(newSize())
        case 72..<74: .resizeTarget(target(), newSize())
        case 74..<76: .remove(target())
        case 76..<79: .remake(target(), fill(zeros: 50))
        case 79..<83: .touch(target(), stretch(), fill(zeros: 25), trace())
        case 83..<85: .swap(target(), target())
        case 85..<88: .copy(from: target(), to: target(), trace())
        case 88..<90: .replaceSource(random.chance(percent: 50) ? nil : fill(zeros: 20))
        case 90..<94: .setRecording(bitmap(), random.chance(percent: 60))
        case 94..<96: .clear(bitmap())
        case 96..<97: .readd(bitmap())
        case 97..<98: .keep(target())
        default: .bringBack(target())
        }
    }

    private mutating func job() -> Job {
        var job = Job(
            mode: random.chance(percent: 35) ? .full : .incremental, target: target(),
            bitmap: bitmap())
        if job.mode == .full, random.chance(percent: 35) { job.bitmap = nil }
        if job.bitmap != nil, random.chance(percent: 60) {
            job.clearing = Job.Clearing.allCases.randomElement(using: &random)!
            if job.mode == .full, job.clearing == .never { job.clearing = .always }
        }
        job.vouches = !setting.isHonest && random.chance(percent: 8)
        job.isResumed = random.chance(percent: 5)
        job.verification = verification()
        job.isSlow = random.chance(percent: 50)
        job.surroundings = surroundings(places: job.isSlow ? 40 : 4)
        return job
    }

    private mutating func surroundings(places: Int) -> Surroundings {
        let after = Int.random(in: 0..<places, using: &random)
        return switch Int.random(in: 0..<100, using: &random) {
        case 0..<12: .interrupted(after: after)
        case 12..<24: .killed(after: after)
        case 24..<32: .failing(after: after)
        case 32..<36: setting.isHonest ? .quiet : .sourceWritten(after: after)
        default: .quiet
        }
    }

    /// The same job, which goes on.
    private mutating func resumption(of job: Job) -> Job {
        var job = job
        job.isResumed = true
        job.clearing = nil
        job.vouches = false
        job.verification = verification()
        job.surroundings = random.chance(percent: 70) ? .quiet : surroundings(places: 10)
        return job
    }

    private mutating func restore() -> Step {
        let isQuiet = random.chance(percent: 50)
        var surroundings = isQuiet ? .quiet : surroundings(places: 20)
        if case .sourceWritten = surroundings { surroundings = .quiet }
        return .restore(from: target(), surroundings)
    }

    private mutating func verification() -> Job.Verification {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<7: .all
        case 7..<14: .copied
        default: .none
        }
    }

    private mutating func target() -> Int { Int.random(in: 0..<Setting.targets, using: &random) }

    private mutating func bitmap() -> Int { random.chance(percent: 75) ? 0 : 1 }

    private mutating func trace() -> Trace { random.chance(percent: 60) ? .visible : .hidden }

    private mutating func marking() -> Marking {
        random.chance(percent: 60) ? .none : .only(bitmap())
    }

    private mutating func fill(zeros percent: Int) -> Fill {
        Fill(seed: random.next(), isZero: random.chance(percent: percent))
    }

    private mutating func newSize() -> Int {
        let change = Int.random(in: 1...16, using: &random) * 4096
        return random.chance(percent: 50) ? setting.size + change : max(setting.size - change, 4096)
    }

    /// Of whole sectors; small ones mostly, and sometimes at the very end.
    private mutating func stretch() -> Stretch {
        let sectors = setting.size / 512
        let most = random.chance(percent: 5) ? 2000 : 40
        let count = min(Int.random(in: 1...most, using: &random), sectors)
        let start =
            random.chance(percent: 10)
            ? sectors - count : Int.random(in: 0...(sectors - count), using: &random)
        return Stretch(offset: start * 512, count: count * 512)
    }
}
