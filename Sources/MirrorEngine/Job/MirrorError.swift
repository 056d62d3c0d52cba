public import BitmapStore
public import BlockStorage
public import Ring
public import SystemPackage

/// The two ends of a mirror.
public enum MirrorSide: String, Sendable {
    case source, target
}

/// Why a job ended without a mirror.
public enum MirrorError: Sendable {
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
    /// Something else had the target open while the job ran, and may have written it. `how` is a
    /// sentence.
    case openedMeanwhile(target: FilePath, how: String)
    /// What a job needs whose source is written while it runs.
    case live(LiveError)
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
    /// A mirror to the target was interrupted, and nothing says that it held the mirror that the
    /// bitmap goes on from.
    case halfMirror(bitmap: String, target: FilePath, interrupted: JobMode)
    /// A mirror to the source was interrupted, from what is the target now: what is there is needed
    /// to finish that.
    case halfSource(source: FilePath, target: FilePath, interrupted: JobMode)
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
}

extension MirrorError {
    /// Whether the writers of a source may be held back if that is tried again.
    var mayPass: Bool {
        if case .live(let error) = self { error.mayPass } else { false }
    }

    /// Whether it says that something else has written the target: what the job has written there
    /// came to the storage all the same.
    var isOtherWriter: Bool {
        switch self {
        case .storage(.writtenByOther), .targetResized: true
        default: false
        }
    }
}
