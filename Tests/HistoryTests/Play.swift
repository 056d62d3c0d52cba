import Synchronization
import TestSupport

/// A history while it happens.
struct Play {
    let rig: any Rig
    private(set) var tally = Tally()
    private let files: Files
    private var model: Model
    /// A target's bytes as they were once.
    private var aside: [UInt8]?

    init(_ setting: Setting, _ rig: any Rig, _ files: Files) {
        self.rig = rig
        self.files = files
        model = Model(setting)
    }

    private func name(_ target: Int) -> String { "t\(target).img" }

    mutating func perform(_ step: Step) throws {
        try carryOut(step)
        let bytes = rig.source()
        if !isSame(bytes, model.source) {
            throw Unexpected("SOURCE changed by a job: \(difference(bytes, model.source))")
        }
    }

    private mutating func carryOut(_ step: Step) throws {
        switch step {
        case .write(let place, let fill, let marking, let trace):
            try write(place, fill, marking, trace)
        case .mirror(let job): try mirror(job)
        case .restore(let target, let surroundings): try restore(target, surroundings)
        case .resizeSource(let size): resizeSource(size)
        case .resizeTarget, .remove, .remake, .touch, .swap, .copy, .keep, .bringBack:
            changeTarget(step)
        case .replaceSource(let fill): replaceSource(fill)
        case .setRecording(let bitmap, let isOn):
            guard !model.isSourceOdd else { return }
            try rig.setRecording(bitmap, isOn)
            model.isRecording[bitmap] = isOn
        case .clear(let bitmap):
            guard !model.isSourceOdd else { return }
            if try rig.clear(bitmap) {
                model.cleared(bitmap)
            } else {
                model.forgetTargets(of: bitmap)
            }
        case .readd(let bitmap):
            if model.isSourceOdd {
                try rig.startAnew()
                for each in 0..<2 { model.forgetTargets(of: each) }
                model.isRecording = [true, true]
                model.isSourceOdd = false
            } else {
                try rig.readd(bitmap)
                model.forgetTargets(of: bitmap)
                model.isRecording[bitmap] = true
            }
        }
    }

    // MARK: The source

    private mutating func write(
        _ place: Stretch, _ fill: Fill, _ marking: Marking, _ trace: Trace
    ) throws {
        let end = min(place.range.upperBound, model.source.count)
        guard place.offset < end else { return }
        let bytes = fill.bytes(end - place.offset)
        let hearing = model.isSourceOdd ? [] : model.hearing(marking)
        let (written, heard) = try rig.write(bytes, at: place.offset, marking: hearing, trace)
        if heard != hearing { throw Unexpected("MARKING failed") }
        for range in written {
            model.source.replaceSubrange(
                range,
                with: bytes[(range.lowerBound - place.offset)..<(range.upperBound - place.offset)])
            model.wrote(range, heard: heard, trace)
        }
    }

    private mutating func resizeSource(_ size: Int) {
        guard model.setting.source == .raw else { return }
        guard size != model.source.count else { return }
        files.resize("s.img", size)
        if size < model.source.count {
            model.source.removeLast(model.source.count - size)
        } else {
            model.source += [UInt8](repeating: 0, count: size - model.source.count)
        }
        model.isSourceOdd = true
    }

    private mutating func replaceSource(_ fill: Fill?) {
        guard model.setting.source == .raw else { return }
        if let fill { model.source = fill.bytes(model.source.count) }
        files.make("other.img", model.source)
        files.rename("other.img", to: "s.img")
        model.isSourceOdd = true
    }

    private mutating func restore(_ target: Int, _ surroundings: Surroundings) throws {
        guard let file = model.files[target], let bytes = files.read(name(target)) else { return }
        let ending = try rig.restore(from: target, surroundings)
        let isFit = bytes.count == model.source.count
        let heard = model.isSourceOdd ? [] : model.hearing(.all)
        guard case .success(let claim) = ending else {
            if isFit && !model.isSourceOdd && surroundings.isQuiet,
                !model.halfMirrors.contains(file)
            {
                throw Unexpected("RESTORE could not be done: \(ending.text)")
            }
            // A bitmap in an image is not to be trusted when whoever recorded in it has died.
            if ending == .killed, model.setting.source == .qcow2 { model.isSourceOdd = true }
            if case .refused = ending {} else { model.restored(from: file, isWhole: false) }
            // The bitmaps have heard of all that it was about to write.
            let now = rig.source()
            let changed = difference(now, model.source)
            if changed.isEmpty { return }
            if case .refused = ending { throw Unexpected("REFUSED and written: \(ending.text)") }
            guard now.count == model.source.count else { throw Unexpected("RESTORE resized it") }
            model.source = now
            for block in changed {
                model.wrote(
                    block * Model.block..<min(now.count, (block + 1) * Model.block), heard: heard,
                    .visible)
            }
            return
        }
        guard isFit else { throw Unexpected("RESTORE of another size succeeded") }
        if claim.kind != "mirror" { throw Unexpected("DOUBT of a restore: \(claim.kind)") }
        model.source = bytes
        model.restored(from: file, isWhole: true)
        model.wrote(0..<bytes.count, heard: heard, .visible)
    }

    // MARK: Targets

    private mutating func changeTarget(_ step: Step) {
        switch step {
        case .resizeTarget(let target, let size):
            guard let file = model.files[target] else { return }
            files.resize(name(target), size)
            model.odd.insert(file)
        case .remove(let target):
            files.remove(name(target))
            model.files[target] = nil
        case .remake(let target, let fill):
            files.make(name(target), fill.bytes(model.source.count))
            model.files[target] = model.newFile()
        case .touch(let target, let place, let fill, let trace):
            guard let file = model.files[target], let bytes = files.read(name(target)) else {
                return
            }
            let end = min(place.range.upperBound, bytes.count)
            guard place.offset < end else { return }
            files.write(name(target), fill.bytes(end - place.offset), at: place.offset, trace)
            model.touch(file, place.offset..<end, trace)
        case .swap(let one, let other):
            guard one != other, model.files[one] != nil, model.files[other] != nil else { return }
            files.rename(name(one), to: "third.img")
            files.rename(name(other), to: name(one))
            files.rename("third.img", to: name(other))
            model.files.swapAt(one, other)
        case .copy(let from, let to, let trace):
            guard from != to, model.files[from] != nil, let file = model.files[to],
                let bytes = files.read(name(from)), let old = files.read(name(to)),
                bytes.count == old.count
            else { return }
            files.write(name(to), bytes, at: 0, trace)
            model.touch(file, 0..<bytes.count, trace)
        default: keepOrBringBack(step)
        }
    }

    private mutating func keepOrBringBack(_ step: Step) {
        switch step {
        case .keep(let target):
            guard let bytes = files.read(name(target)) else { return }
            aside = bytes
        case .bringBack(let target):
            guard let aside else { return }
            files.make(name(target), aside)
            model.files[target] = model.newFile()
        default: break
        }
    }

    // MARK: Mirrors

    private mutating func mirror(_ job: Job) throws {
        var others: [Int: [UInt8]] = [:]
        for target in 0..<Setting.targets where target != job.target {
            others[target] = files.read(name(target))
        }
        let before = files.read(name(job.target))
        let wasThere = model.files[job.target] != nil
        let ending = try run(job)
        tally.count(job, ending)
        for target in 0..<Setting.targets where target != job.target {
            if !isSame(files.read(name(target)), others[target]) {
                throw Unexpected("OTHER target t\(target) was changed by \(job)")
            }
        }
        let after = files.read(name(job.target))
        if after != nil, model.files[job.target] == nil {
            model.files[job.target] = model.newFile()
        }
        guard let file = model.files[job.target] else {
            if ending.isSuccess { throw Unexpected("NOTHING is there after a success") }
            return
        }
        switch ending {
        case .success(let claim):
            if claim.kind == "nothingCopied", !isSame(before, after) {
                throw Unexpected("COPIED though nothing was said to be")
            }
            try judgeSuccess(job, file, after ?? [], claim)
        case .refused, .unusable:
            guard isSame(after, before) else {
                throw Unexpected("REFUSED and written: \(ending.text)")
            }
            if wasThere { try judgeRefusal(job, file, ending, size: after?.count ?? 0) }
        case .failed, .interrupted, .killed:
            if case .failed(let why) = ending, !job.surroundings.explainsFailure,
                !model.differs(job, file)
            {
                throw Unexpected("FAILED without a reason: \(why)")
            }
            model.failed(job, file, ending)
        }
    }

    private mutating func run(_ job: Job) throws -> Ending {
        guard case .sourceWritten = job.surroundings else {
            return try rig.run(job, meanwhile: {})
        }
        let bytes = Fill(seed: 5, isZero: false).bytes(512)
        let at = model.source.count / 1024 * 512
        let written = Mutex<[Range<Int>]>([])
        let (rig, kind) = (UncheckedBox(rig), model.setting.source)
        let ending = try rig.value.run(job) {
            let ranges: [Range<Int>]
            if kind == .raw {
                rig.value.files.write("s.img", bytes, at: at, .visible)
                ranges = [at..<at + 512]
            } else {
                ranges = rig.value.writeBehindFormat(bytes, at: at, .visible)
            }
            written.withLock { $0 = ranges }
        }
        let ranges = written.withLock { $0 }
        if !ranges.isEmpty && ending.isSuccess {
            throw Unexpected("MEANWHILE the source was written, and it is called a success")
        }
        for range in ranges {
            model.source.replaceSubrange(range, with: bytes)
            model.wrote(range, heard: [], .visible)
        }
        return ending
    }

    private mutating func judgeSuccess(
        _ job: Job, _ file: Int, _ target: [UInt8], _ claim: Ending.Claim
    ) throws {
        let differing = difference(target, model.source)
        defer { model.succeeded(job, file, differing: differing) }
        if job.mode == .full, !job.isResumed, claim.kind != "mirror" {
            throw Unexpected("DOUBT of a full mirror: \(claim.kind)")
        }
        guard !differing.isEmpty else { return }
        guard target.count == model.source.count else {
            throw Unexpected("SIZE differs after the success of \(job)")
        }
        let first = (differing.min() ?? 0) * Model.block
        let told = model.told(differing, job, file)
        guard told.isEmpty else {
            throw Unexpected(
                "LIE: a success, and the target differs in \(differing.count) blocks, the first at "
                    + "\(first), of which \(told.count) were told")
        }
        guard claim.isConditional else {
            throw Unexpected("CERTAIN of a mirror, which differs at \(first): \(claim.kind)")
        }
        tally.excused += 1
        if job.mode == .full { return }
        guard let bitmap = job.bitmap, !job.vouches else { return }
        let pair = Model.Pair(bitmap: bitmap, file: file)
        if model.touched[pair] == .visible, model.known.contains(pair) {
            throw Unexpected("TOUCHED target is called a mirror, and differs at \(first)")
        }
        if model.setting.source == .raw, model.missed.contains(bitmap),
            claim.kind == "nothingCopied", model.known.contains(pair), !job.isResumed
        {
            throw Unexpected("MISSED write of the source with a clean bitmap, at \(first)")
        }
        if differing.contains(0), !job.isResumed {
            throw Unexpected("SAMPLE misses the first block, which differs")
        }
    }

    private func judgeRefusal(_ job: Job, _ file: Int, _ ending: Ending, size: Int) throws {
        guard !model.isSuspicious(job, file), size == model.source.count else { return }
        throw Unexpected("BALKED without a reason at \(job): \(ending.text)")
    }
}

extension Surroundings {
    /// Whether a job that fails in them fails for a reason.
    var explainsFailure: Bool {
        switch self {
        case .failing, .sourceWritten: true
        default: false
        }
    }
}

/// What one thread at a time uses.
struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
