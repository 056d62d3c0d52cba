public import BitmapStore
internal import BlockStorage

/// What may be said of a target when a job has ended, and what it rests on.
///
/// Every front end renders this and claims nothing else.
public struct MirrorClaim: Sendable, Hashable {
    /// How strong the claim is. The raw values are part of the JSON interface.
    public enum Kind: String, Sendable, CaseIterable {
        /// The target reads as the source: all bytes were copied and flushed, or compared, and the
        /// source was not written meanwhile.
        case mirror
        /// The same, but that it is so rests in part on what can't be checked: see the evidence.
        case mirrorByEvidence
        /// What was dirty was copied and flushed. That all else is the same rests on the evidence.
        case mirrorByBitmap
        /// Nothing was dirty, and nothing was copied. That the target is a mirror rests on the
        /// evidence.
        case nothingCopied
        /// What the image itself has was copied, and nothing below it.
        case layerCopied
        /// All was copied from a source that was written meanwhile, or may have been.
        case mixedPointsInTime
        /// What an overlay had is in its backing file, on stable storage.
        case committed
        /// An image has itself what it took from its backing files, on stable storage.
        case streamed
        /// A commit or stream did not reach its end. The image that it keeps reads as it did,
        /// unless something else wrote it, and the job can be run again.
        case unfinished
        /// The target is not a mirror.
        case notAMirror
    }

    /// How strong the claim is.
    public let kind: Kind
    /// What it rests on, strongest first.
    public let evidence: [MirrorEvidence]

    /// What proves that the target is what a source in use was at one moment; nil: it stood still,
    /// or nothing proves it.
    public var provenMoment: LiveProof? {
        for case .provenMoment(let proof) in evidence { return proof }
        return nil
    }

    /// Whether it rests on more than what this job has copied or compared itself.
    public var isConditional: Bool {
        guard kind == .mirror else { return true }
        return !evidence.contains {
            switch $0 {
            case .allCopied, .differencesCopied, .allCompared: true
            default: false
            }
        }
    }
}

/// One thing that a claim rests on, or one that weakens it.
public enum MirrorEvidence: Sendable, Hashable {
    /// Every byte of the source was copied, and the target flushed.
    case allCopied
    /// Every byte of both sides was compared, what differed was copied, and the target flushed.
    case differencesCopied(bytes: Int64)
    /// Every byte of both sides was compared after the flush.
    case allCompared(bytes: Int64)
    /// What was copied was read back and compared after the flush.
    case copiedCompared(bytes: Int64)
    /// A bitmap says what was written, if all that writes marks in it.
    case bitmap(String)
    /// The kernel has tracked the source for the bitmap, and has lost nothing.
    case tracked(bitmap: String)
    /// Another tool's map says what was written.
    case changeMap
    /// What was not copied is the same on both sides in so many places all over the disk.
    case sample(places: Int)
    /// The files of the source show no write while the job ran.
    case sourceUnchanged
    /// The source was in use, and the target is what it was at one moment.
    case provenMoment(LiveProof)
    /// Whether the source was written while the job ran can't be told.
    case sourceUnknown(String)
    /// The source was written while the job ran.
    case sourceWritten(String)
    /// The source's names, owner or times were changed while the job ran.
    case sourceTouched(String)
    /// What is lost below a file of either side, on its way to the storage, would not be noticed.
    case lossUnseen(String)
    /// Another process that wrote the target while the job ran would not be noticed, because the
    /// kernel or the filesystem tells of none.
    case writersUnseen(String)
    /// Something else had the target open while the job ran, or has, and may have written it in a
    /// way that is not told.
    case targetOpened(String)
    /// The path of a file of the source leads to another file by now, or to none: what was copied
    /// is the one that it led to at the beginning.
    case sourceMoved(String)
    /// Since the last job to it no write to the target shows: neither in the times of a file nor in
    /// the counters that this machine keeps of a disk.
    case targetUntouched
    /// The target is a new overlay of a disk that the bitmap knows: what is known of that one is
    /// known of it.
    case targetStandsOn(String)
    /// The content of the target shows no write since the last job to it, but its names, owner or
    /// times were changed; what sets times can hide a write.
    case targetTouched(String)
    /// The content of a file below the target shows no write while the job ran, but its names,
    /// owner or times were changed; what sets times can hide a write.
    case targetBaseTouched(String)
    /// Whether something else wrote the target since the last job to it can't be told.
    case targetUnknown(String)
    /// An earlier job took something of the target on trust, and all of it was neither copied nor
    /// compared since.
    case notProven(TargetDoubt)
    /// The caller answers for it that the target was zero where zeros were not written.
    case zerosVouched(bytes: Int64)
    /// The caller answers for it that the target held the mirror that the bitmap goes on from.
    case targetVouched
    /// The bitmap is in a store that is not where jobs look for it which write the source: they do
    /// not mark it.
    case storeElsewhere(String, usual: String)

    /// What a look at the source at the end says of the time since the job began.
    init(ofSource found: WriteEvidence) {
        switch found {
        case .unchanged: self = .sourceUnchanged
        case .timesOnly(let how): self = .sourceTouched(how)
        case .unknown(let why): self = .sourceUnknown(why)
        case .written(let how): self = .sourceWritten(how)
        }
    }

    /// A stable name, part of the JSON interface.
    public var code: String {
        switch self {
        case .allCopied: "allCopied"
        case .differencesCopied: "differencesCopied"
        case .allCompared: "allCompared"
        case .copiedCompared: "copiedCompared"
        case .bitmap: "bitmap"
        case .tracked: "tracked"
        case .changeMap: "changeMap"
        case .sample: "sample"
        case .sourceUnchanged: "sourceUnchanged"
        case .provenMoment: "provenMoment"
        case .sourceUnknown: "sourceUnknown"
        case .sourceWritten: "sourceWritten"
        case .sourceTouched: "sourceTouched"
        case .lossUnseen: "lossUnseen"
        case .writersUnseen: "writersUnseen"
        case .targetOpened: "targetOpened"
        case .sourceMoved: "sourceMoved"
        case .targetStandsOn: "targetStandsOn"
        case .targetUntouched: "targetUntouched"
        case .targetTouched: "targetTouched"
        case .targetBaseTouched: "targetBaseTouched"
        case .targetUnknown: "targetUnknown"
        case .targetVouched: "targetVouched"
        case .notProven: "notProven"
        case .zerosVouched: "zerosVouched"
        case .storeElsewhere: "storeElsewhere"
        }
    }

    /// Whether it makes the claim weaker, so that also those who ask for nothing have to hear it.
    public var isDoubt: Bool {
        switch self {
        case .sourceWritten, .sourceTouched, .sourceMoved, .targetTouched, .targetBaseTouched,
            .targetOpened:
            true
        default: false
        }
    }

    /// The same as a phrase.
    public var text: String {
        switch self {
        case .allCopied: "all bytes were copied and flushed"
        case .differencesCopied(let bytes):
            bytes > 0
                ? "all bytes were compared, and what differed was copied and flushed"
                : "all bytes were compared, and nothing differed"
        case .allCompared: "all bytes were compared after the flush"
        case .copiedCompared: "what was copied read back identical"
        case .bitmap(let name): "whatever writes the source marks it in bitmap '\(name)'"
        case .tracked(let name):
            "the kernel has tracked the source for bitmap '\(name)', and has lost nothing"
        case .changeMap: "the change map has all that was written"
        case .sample(let places):
            "a sample of the rest, \(places) places, is the same on both sides"
        case .sourceUnchanged: "the source was not written meanwhile"
        case .provenMoment(let proof): proof.text
        case .sourceUnknown(let why):
            "whether the source was written in between can't be told: \(why)"
        case .sourceWritten(let how): "the source was written meanwhile: \(how)"
        case .sourceTouched(let how):
            "the source's own times show no write meanwhile, but \(how), which can hide one"
        case .targetBaseTouched(let how): "\(how), which can hide a write"
        case .lossUnseen(let why), .writersUnseen(let why), .targetOpened(let why): why
        case .sourceMoved(let path):
            "\(path) leads to another file by now, or to none: what was copied is the one that it "
                + "led to at the beginning"
        case .targetStandsOn(let path):
            "the target is a new overlay of \(path), which the bitmap knows"
        case .targetUntouched: "no write to the target was seen since the last job to it"
        case .targetTouched(let how):
            "no write to the target was seen since the last job to it, but \(how), which can hide "
                + "one"
        case .targetUnknown(let why):
            "whether something else has written the target since the last job to it can't be told: "
                + why
        case .notProven(let doubt): doubt.text
        case .zerosVouched(let bytes):
            "you say that the target was zero: \(bytes) bytes of zeros were not written"
        case .storeElsewhere(let store, let usual):
            "no mirror was made onto the source since, or what it wrote was marked by hand: "
                + "mirrors mark what they write in \(usual), and not in \(store)"
        case .targetVouched:
            "you say that the target, or what it stands on, held the mirror the bitmap goes on from"
        }
    }
}
