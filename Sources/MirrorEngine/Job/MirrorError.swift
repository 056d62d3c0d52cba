public import BitmapStore
public import BlockStorage
public import Ring
public import SystemPackage

/// The two ends of a mirror.
public enum MirrorSide: String, Sendable {
    case source, target
}

/// Why a job ended without a mirror.
public enum MirrorError: Error, Sendable {
    /// io_uring can't be had, or broke.
    case ring(RingError)
    /// Asking a side where its bytes live failed.
    case storage(StorageError)
    /// Bytes could not be read, written or zeroed.
    case transfer(
        MirrorSide, name: String, verb: String, offset: Int64, count: Int64, cause: FailureCause)
    /// A side has become smaller: it was truncated, resized or pulled out.
    case shrank(MirrorSide, name: String, from: Int64, to: Int64)
    /// The target could not be brought to stable storage. Nothing that was written since the last
    /// successful flush can be relied on.
    case flush(name: String, cause: FailureCause)
    /// Everything that could be copied was, and this much could not.
    case incomplete(failedBytes: Int64, firstOffset: Int64, ranges: Int)
    /// More errors than a disk that is worth going on with has.
    case tooManyFailures(limit: Int)
    case cancelled
    /// A file that the job read was written meanwhile, so that what was read is of no one moment.
    case writtenMeanwhile(path: FilePath, how: String)
    /// The path of a file that the job changes leads to another file by now, or to none.
    case movedMeanwhile(path: FilePath)
    case invalidOption(String)
    /// A bitmap or the record of a job can't be had. Nothing was written to the target.
    case store(BitmapStoreError)
    /// A name is that of a bitmap inside the image and of one in the store beside it.
    case ambiguousBitmap(name: String, image: FilePath, store: FilePath)
    /// The last success of a bitmap wrote another target: what the bitmap says is not what this one
    /// lacks.
    case otherTarget(bitmap: String, target: FilePath, known: [String], difference: String?)
    /// The target differs from the source where the bitmap says that they are the same; nil: where
    /// a change map does.
    case otherContent(bitmap: String?, target: FilePath, offset: Int64)
    /// A full mirror to the target was interrupted, and nothing says that it held the mirror that
    /// the bitmap goes on from.
    case halfMirror(bitmap: String, target: FilePath)
    /// Marks were taken out of the bitmap that no known target has: it does not tell what a target
    /// lacks that it does not know.
    case marksTaken(bitmap: String, target: FilePath)
    /// No job to this target was interrupted.
    case nothingToResume(target: FilePath, store: FilePath)
    /// Something else has written the target since the last mirror by a bitmap.
    case foreignWrites(bitmap: String, target: FilePath, how: String)
    /// The source was written since the last mirror by a bitmap that can't have heard of it.
    case unmarkedWrites(bitmap: String, source: FilePath, how: String, cause: MissedWriteCause)
    /// The source is an older state of its disk than some of the bitmap's marks tell of, or than
    /// the bitmap is.
    case olderThanMarks(bitmap: String, source: FilePath)
    /// Both sides were compared after the copy, and differ: at `offset` first.
    case verificationFailed(
        source: FilePath, target: FilePath, offset: Int64, bytes: Int64, cause: DifferenceCause)
    /// Comparing both sides after the copy failed.
    case verificationIncomplete(String)
    /// The target has another size than when it was opened.
    case targetResized(target: FilePath, from: Int64, to: Int64)
    /// A side is not what it was when the job was interrupted.
    case changed(MirrorSide, path: FilePath, difference: String)
}

/// Why a bitmap can't have heard of what was written to its source.
public enum MissedWriteCause: Hashable, Sendable {
    /// Nothing was marked in it since the last job that looked.
    case nothingMarked
    /// It takes no marks.
    case disabled
    /// Marks tell nothing of it: another file, below or beside the one that is marked, was written,
    /// or the source is an older state than the last mirror's.
    case beyondMarks
}

/// Why a place differs after a copy, as far as the job knows.
public enum DifferenceCause: Hashable, Sendable {
    /// The job has copied it.
    case lost
    /// The job has made it the same, perhaps by leaving zeros out on somebody's promise.
    case zerosVouched
    /// A bitmap did not name it.
    case unmarked
    /// A change map did not name it.
    case unmapped
    /// The layer that was copied does not have it.
    case below
}

extension MirrorError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .ring(let error): "\(error)"
        case .storage(let error): "\(error)"
        case .transfer(let side, let name, let verb, let offset, let count, let cause):
            "\(name): \(verb) \(count) bytes at offset \(offset) "
                + "failed: \(cause)\(Self.remedy(side, cause))"
        case .shrank(let side, let name, let from, let to):
            to == 0
                ? "\(name): the \(side.rawValue) disappeared while the job ran; "
                    + "check the device and its cable (dmesg tells more)"
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
            "\(path) was written by something else while it was read: \(how). Stop what writes it, "
                + "then run the command again."
        case .movedMeanwhile(let path):
            "\(path) leads to another file than when the command began, or to none. Find out what "
                + "replaced it, then run the command again."
        case .invalidOption(let text): text
        case .store(let error): "\(error)"
        case .ambiguousBitmap(let name, let image, let store):
            "bitmap '\(name)' is inside \(image) and also in \(store). Name that file as the one "
                + "with the bitmaps to mean its '\(name)'; once that is removed, the name means "
                + "the image's."
        case .otherTarget(let bitmap, let target, let known, let difference):
            "bitmap '\(bitmap)' tells what \(Self.list(known)) "
                + (known.count == 1 ? "lacks" : "lack")
                + ", and \(target) is not that" + (difference.map { ": \($0)" } ?? "")
                + ". If \(target) holds the mirror that the bitmap goes on from, say "
                + "--new-target; else make it one with `ringmirror full`."
        case .otherContent(let bitmap, let target, let offset):
            "\(target) differs from the source at offset \(offset), which "
                + (bitmap.map { "bitmap '\($0)'" } ?? "the change map")
                + " calls unchanged: it does not hold the mirror that is gone on from. Make it one "
                + "with `ringmirror full`."
        case .halfMirror(let bitmap, let target):
            "\(target) is half a mirror: a full mirror to it was interrupted, and bitmap "
                + "'\(bitmap)' has never been mirrored to it. Go on with "
                + "`ringmirror full --resume`. If \(target) held the mirror that the bitmap goes "
                + "on from, say --new-target."
        case .nothingToResume(let target, let store):
            "\(store) has no interrupted job of this kind to \(target): run without --resume"
        case .foreignWrites(let bitmap, let target, let how):
            "\(target) was written by something else since the last mirror by bitmap "
                + "'\(bitmap)' (what `stream` and `commit` write counts too), so that it may lack "
                + "more than the bitmap says: \(how). "
                + "--verify=all compares everything after the copy; `ringmirror full` makes a new "
                + "mirror; --new-target accepts the target as it is."
        case .marksTaken(let bitmap, let target):
            "bitmap '\(bitmap)' no longer has all that was ever marked in it, because it was "
                + "cleared, or a target or an interrupted job of it was forgotten: nothing says "
                + "what \(target) lacks. Mirror in full with the bitmap; --new-target accepts the "
                + "target as it is."
        case .unmarkedWrites(let bitmap, let source, let how, let cause):
            "\(source) was written since the last mirror by bitmap '\(bitmap)', \(cause): \(how). "
                + "\(cause.remedy)"
        case .olderThanMarks(let bitmap, let source):
            "\(source) is an older state of the disk than bitmap '\(bitmap)' tells of, as a "
                + "snapshot is that was taken before the bitmap was added, or before its last "
                + "marks: a mirror of it would take marks of what it does not have. Take a newer "
                + "snapshot, and let nothing be marked until the mirror has begun. If it is the "
                + "disk as it is now (the filesystem was rolled back, or the clock was ahead), "
                + "remove the bitmap and add it again."
        case .verificationFailed(let source, let target, let offset, let bytes, let cause):
            "\(source) and \(target) differ after the copy: first at offset \(offset), \(bytes) "
                + "bytes in all. \(cause)"
        case .verificationIncomplete(let text): "the comparison did not finish: \(text)"
        case .targetResized(let target, let from, let to):
            "\(target) had \(from) bytes when the job began, and has \(to): something else changed "
                + "it. Find out what did, then run again."
        case .changed(let side, let path, let difference):
            "the job can't be resumed: \(path), its \(side.rawValue), has changed: \(difference). "
                + "Begin anew without --resume (a full mirror with --overwrite, and without "
                + "--create)."
        }
    }

    private static func list(_ names: [String]) -> String {
        guard names.count > 1, let last = names.last else { return names.joined() }
        guard names.count > 3 else {
            return names.dropLast().joined(separator: ", ") + " and \(last)"
        }
        return names.suffix(3).joined(separator: ", ") + " and \(names.count - 3) more"
    }

    private static func remedy(_ side: MirrorSide, _ cause: FailureCause) -> String {
        let elsewhere = "; --on-source-error ignore copies everything else"
        if cause == .corruptData { return elsewhere }
        guard case .errno(let code) = cause else { return "" }
        if side == .target && Errors.isOutOfSpace(code) {
            return "; free space for it, or use --on-target-error enospc to wait for space"
        }
        if side == .source && Errors.isLocal(code) {
            return elsewhere
        }
        return ""
    }
}

extension FailureCause: CustomStringConvertible {
    public var description: String {
        switch self {
        case .errno(let code): errorText(code)
        case .endOfFile: "the file ended early"
        case .noProgress: "the kernel moved no bytes, many times in a row"
        case .corruptData: "its compressed data is damaged"
        }
    }
}

extension MissedWriteCause: CustomStringConvertible {
    /// The end of a sentence that says what was written.
    public var description: String {
        switch self {
        case .nothingMarked: "and nothing was marked since"
        case .disabled: "and the bitmap takes no marks"
        case .beyondMarks: "and no mark tells of that"
        }
    }

    /// Sentences: what to do.
    fileprivate var remedy: String {
        let everything =
            "mirror in full with the bitmap; or, if nothing was changed, --verify=all proves it "
            + "by comparing everything."
        return switch self {
        case .nothingMarked:
            "Mark what was written (`ringmirror bitmap diff` finds it by comparing), \(everything)"
        case .disabled:
            "Find what was written by comparing (`ringmirror bitmap diff`), \(everything)"
        case .beyondMarks:
            "If it is not the source that was meant, give that one. Else \(everything)"
        }
    }
}

extension DifferenceCause: CustomStringConvertible {
    /// Sentences: what it means, and what to do.
    public var description: String {
        switch self {
        case .lost:
            "That place was copied and flushed before: something else wrote to it since, or the "
                + "hardware lost it. Look for another writer, and for errors in dmesg; then mirror "
                + "in full."
        case .zerosVouched:
            "Where the source is zero, nothing was written, because the target was said to be "
                + "zero. Mirror in full without --target-is-zero."
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
