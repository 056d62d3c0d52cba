internal import BitmapStore
public import BlockStorage
public import SystemPackage

extension MirrorError: DescribedError {
    /// The error of another layer that this one only passes on.
    private var passedOn: (any DescribedError)? {
        switch self {
        case .ring(let error): error
        case .storage(let error): error
        case .store(let error): error
        case .live(let error): error
        default: nil
        }
    }

    public var category: ErrorCategory {
        switch self {
        case .ring, .storage, .store, .live: passedOn?.category ?? .failed
        case .invalidOption, .nothingToResume, .ambiguousBitmap: .usage
        case .otherTarget, .otherContent, .halfMirror, .halfSource, .changed, .foreignWrites,
            .unmarkedWrites, .marksTaken, .olderThanMarks:
            .refused
        case .verificationFailed: .different
        case .cancelled: .interrupted
        case .transfer, .shrank, .flush, .incomplete, .tooManyFailures, .writtenMeanwhile,
            .openedMeanwhile, .movedMeanwhile, .verificationIncomplete, .targetResized:
            .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .ring(let error): error.code
        case .storage(let error): error.code
        case .store(let error): error.code
        case .live(let error): error.code
        case .transfer: .transferFailed
        case .shrank: .shrank
        case .flush: .flushFailed
        case .incomplete: .incomplete
        case .tooManyFailures: .tooManyFailures
        case .cancelled: .interrupted
        case .writtenMeanwhile: .writtenMeanwhile
        case .openedMeanwhile: .openedMeanwhile
        case .movedMeanwhile: .movedMeanwhile
        case .invalidOption: .invalidOption
        case .ambiguousBitmap: .ambiguousBitmap
        case .otherTarget: .otherTarget
        case .otherContent: .otherContent
        case .halfMirror, .halfSource: .halfMirror
        case .marksTaken: .marksTaken
        case .foreignWrites: .foreignWrites
        case .unmarkedWrites: .unmarkedWrites
        case .olderThanMarks: .olderThanMarks
        case .verificationFailed: .verificationFailed
        case .verificationIncomplete: .verificationIncomplete
        case .targetResized: .targetResized
        case .nothingToResume: .nothingToResume
        case .changed: .changedSinceInterrupt
        }
    }

    public var path: FilePath? {
        switch self {
        case .ring, .storage, .store, .live: passedOn?.path
        case .transfer(_, let name, _, _, _, _), .shrank(_, let name, _, _), .flush(let name, _):
            FilePath(name)
        case .writtenMeanwhile(let path, _), .openedMeanwhile(let path, _),
            .movedMeanwhile(let path),
            .unmarkedWrites(_, let path, _, _), .olderThanMarks(_, let path),
            .changed(_, let path, _), .ambiguousBitmap(_, let path, _),
            .otherTarget(_, let path, _, _), .otherContent(_, let path, _),
            .halfMirror(_, let path, _), .halfSource(let path, _, _), .marksTaken(_, let path),
            .foreignWrites(_, let path, _),
            .verificationFailed(_, let path, _, _, _), .targetResized(let path, _, _),
            .nothingToResume(let path, _):
            path
        case .incomplete, .tooManyFailures, .cancelled, .invalidOption, .verificationIncomplete:
            nil
        }
    }

    public var offset: Int64? {
        switch self {
        case .storage, .store: passedOn?.offset
        case .transfer(_, _, _, let offset, _, _), .otherContent(_, _, let offset),
            .incomplete(_, let offset, _), .verificationFailed(_, _, let offset, _, _):
            offset
        default: nil
        }
    }

    public var problem: String {
        switch self {
        case .ring, .storage, .store, .live: passedOn?.problem ?? ""
        case .transfer(_, let name, let verb, let offset, let count, let cause):
            "\(name): \(verb) \(count) bytes at offset \(offset) failed: \(cause)"
        case .shrank(let side, let name, let from, let to):
            to == 0
                ? "\(name): the \(side.rawValue) disappeared while the job ran"
                : "\(name): the \(side.rawValue) shrank from \(from) to \(to) bytes "
                    + "while the job ran"
        case .flush(let name, let cause):
            "\(name): flushing the target failed: \(cause); what was written may not be on the disk"
        case .incomplete(let bytes, let first, let ranges):
            "\(bytes) bytes in \(ranges) places could not be copied, the first at offset \(first)"
        case .tooManyFailures(let limit):
            "more than \(limit) blocks failed; the disk or its connection is broken"
        case .cancelled: "the job was cancelled"
        case .writtenMeanwhile(let path, let how):
            "\(path) was written by something else while it was read: \(how)"
        case .openedMeanwhile(_, let how): how
        case .movedMeanwhile(let path):
            "\(path) leads to another file than when the command began, or to none"
        case .invalidOption(let text): text
        case .verificationFailed(let source, let target, let offset, let bytes, _):
            "\(source) and \(target) differ after the copy: first at offset \(offset), \(bytes) "
                + "bytes in all"
        case .verificationIncomplete(let text): "the comparison did not finish: \(text)"
        case .targetResized(let target, let from, let to):
            "\(target) had \(from) bytes when the job began, and has \(to): something else changed "
                + "it"
        case .ambiguousBitmap, .otherTarget, .otherContent, .halfMirror, .halfSource, .marksTaken,
            .nothingToResume, .foreignWrites, .unmarkedWrites, .olderThanMarks, .changed:
            recordProblem
        }
    }

    /// What bitmaps and records of jobs say against a job.
    private var recordProblem: String {
        switch self {
        case .ambiguousBitmap(let name, let image, let store):
            "bitmap '\(name)' is inside \(image) and also in \(store)"
        case .otherTarget(let bitmap, let target, let known, _) where known.isEmpty:
            "bitmap '\(bitmap)' knows of no mirror yet, and so not of one in \(target)"
        case .otherTarget(let bitmap, let target, let known, let difference):
            "bitmap '\(bitmap)' tells what \(Self.list(known)) "
                + (known.count == 1 ? "lacks" : "lack")
                + ", and \(target) is not that" + (difference.map { ": \($0)" } ?? "")
        case .otherContent(let bitmap, let target, let offset):
            "\(target) differs from the source at offset \(offset), which "
                + (bitmap.map { "bitmap '\($0)'" } ?? "the change map")
                + " calls unchanged: it does not hold the mirror that is gone on from"
        case .halfMirror(let bitmap, let target, let mode):
            "\(target) is half a mirror: \(Self.name(mode)) to it was interrupted, and bitmap "
                + "'\(bitmap)' has never been mirrored to it"
        case .halfSource(let source, let target, let mode):
            "\(source) is half a mirror, unless something else has made it whole: "
                + "\(Self.name(mode)) to it from \(target) was interrupted, and \(target) is what "
                + "that goes on from"
        case .nothingToResume(let target, let store):
            "\(store) has no interrupted job of this kind to \(target)"
        case .foreignWrites(let bitmap, let target, let how):
            "\(target) was written by something else since the last mirror by bitmap "
                + "'\(bitmap)' (what `stream` and `commit` write counts too, and so do changes of "
                + "the bitmaps inside it), so that it may lack more than the bitmap says: \(how)"
        case .marksTaken(let bitmap, let target):
            "bitmap '\(bitmap)' no longer has all that was ever marked in it, because it was "
                + "cleared, or a target or an interrupted job of it was forgotten: nothing says "
                + "what \(target) lacks"
        case .unmarkedWrites(let bitmap, let source, let how, let cause):
            "\(source) was written since the last mirror by bitmap '\(bitmap)', \(cause): \(how)"
        case .olderThanMarks(let bitmap, let source):
            "\(source) is an older state of the disk than bitmap '\(bitmap)' tells of, as a "
                + "snapshot is that was taken before the bitmap was added, or before its last "
                + "marks: a mirror of it would take marks of what it does not have"
        case .changed(let side, let path, let difference):
            "the job can't be resumed: \(path), its \(side.rawValue), has changed: \(difference)"
        default: preconditionFailure("nothing about records")
        }
    }

    public var remedy: Remedy {
        switch self {
        case .ring, .storage, .store, .live: passedOn?.remedy ?? .none
        case .transfer(let side, _, _, _, _, let cause): Self.remedy(side, cause)
        case .shrank(_, _, _, 0): "Check the device and its cable (dmesg tells more)."
        case .shrank, .flush, .incomplete, .tooManyFailures, .cancelled, .invalidOption,
            .verificationIncomplete:
            .none
        case .writtenMeanwhile: "Stop what writes it, then run the command again."
        case .openedMeanwhile: "Stop what has it open."
        case .movedMeanwhile: "Find out what replaced it, then run the command again."
        case .verificationFailed(_, _, _, _, let cause): cause.remedy
        case .targetResized: "Find out what did, then run again."
        case .ambiguousBitmap(let name, _, _):
            "Name that file as the one with the bitmaps to mean its '\(name)'; once that is "
                + "removed, the name means the image's."
        case .otherTarget(_, let target, _, _):
            "If \(target) holds the mirror that the bitmap goes on from, \(.takeAsMirror); else "
                + "\(.mirrorInFull)."
        case .otherContent: "\(.mirrorInFull)."
        case .halfMirror(_, let target, _):
            "\(.resumeInterrupted); if that is refused, \(.mirrorInFull). If \(target) held the "
                + "mirror that the bitmap goes on from, and nothing else wrote it or what it "
                + "stands on, \(.takeAsMirror)."
        case .halfSource(_, let target, _):
            "\(.resumeInterrupted). Or, if the source is right as it is, "
                + "\(.forgetJobs(target.string))."
        case .nothingToResume: "\(.beginAnew)."
        case .foreignWrites:
            "\(.verifyAll); \(.mirrorInFull); or \(.takeAsMirror)."
        case .marksTaken:
            "Mirror in full with the bitmap; or \(.takeAsMirror)."
        case .unmarkedWrites(_, _, _, let cause): cause.remedy
        case .olderThanMarks:
            "Take a newer snapshot, and let nothing be marked until the mirror has begun. If it is "
                + "the disk as it is now (the filesystem was rolled back, or the clock was ahead), "
                + "remove the bitmap and add it again."
        case .changed:
            "\(.beginAnewOver)."
        }
    }

    private static func name(_ mode: JobMode) -> String {
        switch mode {
        case .full: "a full mirror"
        case .top: "a mirror of the top layer"
        case .incremental: "an incremental mirror"
        }
    }

    private static func list(_ names: [String]) -> String {
        guard names.count > 1, let last = names.last else { return names.joined() }
        guard names.count > 3 else {
            return names.dropLast().joined(separator: ", ") + " and \(last)"
        }
        return names.suffix(3).joined(separator: ", ") + " and \(names.count - 3) more"
    }

    private static func remedy(_ side: MirrorSide, _ cause: FailureCause) -> Remedy {
        let elsewhere: Remedy = "\(.ignoreSourceErrors)."
        if cause == .corruptData { return elsewhere }
        guard case .errno(let code) = cause else { return .none }
        if side == .target && ErrnoClass.isOutOfSpace(code) {
            return "Free space for it, or \(.waitForSpace)."
        }
        return side == .source && ErrnoClass.isLocal(code) ? elsewhere : .none
    }
}

extension MissedWriteCause {
    /// What to do about it.
    fileprivate var remedy: Remedy {
        let everything: Remedy =
            "mirror in full with the bitmap; or, if nothing was changed, \(.verifyAll), which "
            + "proves it."
        return switch self {
        case .nothingMarked: "\(.findDifferences) and mark it, or \(everything)"
        case .disabled: "\(.findDifferences) or \(everything)"
        case .beyondMarks:
            "If it is not the source that was meant, give that one. Else \(everything)"
        }
    }
}

extension DifferenceCause {
    /// What it means, and what to do.
    fileprivate var remedy: Remedy {
        switch self {
        case .lost:
            "That place was right and flushed before: something else wrote to it since, or the "
                + "hardware lost it. Look for another writer, and for errors in dmesg; then mirror "
                + "in full."
        case .zerosVouched:
            "Where the source is zero, nothing was written, because the target was said to be "
                + "zero. Mirror in full, and \(.writeZeros)."
        case .unmarked:
            "That place was not copied, because nothing had marked it: the source or the target "
                + "was written without a mark since the last mirror. Mirror in full, and find out "
                + "what writes without marking: until then incremental mirrors may miss it again."
        case .unmapped:
            "That place was not copied, because the change map does not name it: the map is of "
                + "another time or disk, or the target did not hold the mirror that it goes on "
                + "from. Mirror in full."
        case .below:
            "That place was not copied, because the layer that was copied does not have it: the "
                + "target did not hold what is below. Mirror in full."
        }
    }
}
