internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import QCOW2

/// Whether a bitmap can have heard of all that was written to its source since a job on it last
/// looked, as far as the files of the source tell.
enum SourceFinding: Equatable, Sendable {
    /// Nothing shows that it can't.
    case marked
    /// Something was written that is not marked.
    case unmarked(String, MissedWriteCause)
    /// Whether something was written without a mark can't be told.
    case unknown(String)
    /// No write shows, but names, owner or times were changed, which can hide one.
    case touched(String)

    /// - Parameters:
    ///   - hasNewMarks: the bitmap has marks that it had not at the last look.
    ///   - hasMarks: it has any.
    ///   - isRecording: it takes marks now.
    ///   - isInImage: what writes the image marks it, and touches the image also where it writes
    ///     nothing to the disk in it.
    init(
        _ source: Disk, _ history: BitmapHistory, hasNewMarks: Bool, hasMarks: Bool,
        isRecording: Bool, isInImage: Bool
    ) {
        self = .marked
        let now = source.witness()
        let isPaused = !isRecording && history.paused != nil
        if history.isBeingWritten {
            add(
                .unknown("a job that writes to it runs, or died, and others may have written there")
            )
        }
        if let look = history.look {
            // What something had open then, it may have written back since, and marked before.
            let heldBack = hasMarks && look.witness.contains { !$0.timesShowWrites }
            judge(source, now, since: look.witness) { role, how, isOlder in
                switch role {
                case .below: .unmarked(how, .beyondMarks)
                case _ where isOlder: .unmarked("it is an older state (\(how))", .beyondMarks)
                case .image where isInImage && isRecording:
                    hasNewMarks ? .marked : .unknown("\(how), and the bitmap has marked nothing")
                case .image where isInImage:
                    isPaused ? .marked : .unknown("\(how), and the bitmap takes no marks")
                case .image, .data:
                    (hasNewMarks || heldBack) && (isRecording || isPaused)
                        ? .marked : .unmarked(how, isPaused ? .disabled : .nothingMarked)
                }
            }
        }
        // A store from a version that did not look.
        if history.look == nil, !history.isWhole, !hasNewMarks, !isInImage {
            add(.unknown("no look at it is recorded"))
        }
        if let paused = history.paused {
            judge(source, now, since: paused) { _, how, _ in
                isRecording
                    ? .unknown("\(how), and the bitmap took no marks for a time")
                    : .unmarked(how, .disabled)
            }
        }
    }

    /// - Parameter written: what it means that a file was written, or brought back to an earlier
    ///   time, which no mark tells of.
    private mutating func judge(
        _ source: Disk, _ now: [WriteWitness], since earlier: [WriteWitness],
        _ written: (Disk.FileRole, String, _ isOlder: Bool) -> SourceFinding
    ) {
        guard now.count == earlier.count else {
            let how = "it consisted of \(earlier.count) files, and has \(now.count)"
            return add(.unmarked(how, .beyondMarks))
        }
        for (index, role) in source.fileRoles.enumerated() {
            let name = index == 0 ? "" : "\(source.devices[index].path): "
            let isOlder = now[index].wentBack(since: earlier[index])
            switch now[index].evidence(since: earlier[index]) {
            case .unchanged: break
            case .timesOnly(let how): add(.touched(name + how))
            case .unknown(let why):
                if written(role, why, isOlder).isMissed { add(.unknown(name + why)) }
            case .written(let how): add(written(role, name + how, isOlder))
            }
        }
    }

    /// Why targets are in doubt that are no mirrors if something was missed.
    var doubt: TargetDoubt.Kind? {
        switch self {
        case .marked, .unmarked: nil
        case .unknown: .sourceUnseen
        case .touched: .sourceTouched
        }
    }

    /// Judges bitmaps of a store that record, for what is about to add marks to them.
    static func judge(_ source: Disk) -> BitmapStore.WriterJudge {
        { (history, hasNewMarks, hasMarks) in
            SourceFinding(
                source, history, hasNewMarks: hasNewMarks, hasMarks: hasMarks, isRecording: true,
                isInImage: false
            ).forWriter
        }
    }

    /// The same for what is about to add marks.
    private var forWriter: BitmapStore.WriterFinding {
        if isMissed { return .missed }
        return doubt.map { .doubt($0) } ?? .marked
    }

    var isMissed: Bool { if case .unmarked = self { true } else { false } }

    /// The worse of two findings counts, and of two that are as bad the first.
    private mutating func add(_ other: SourceFinding) { if other.weight > weight { self = other } }

    private var weight: Int {
        switch self {
        case .marked: 0
        case .touched: 1
        case .unknown: 2
        case .unmarked: 3
        }
    }
}

extension Disk {
    /// What the files of a disk are to it.
    fileprivate enum FileRole {
        /// The file or device that was named.
        case image
        /// Where that keeps its data, outside of itself.
        case data
        /// What stands below: images that it goes back to, and their data files.
        case below
    }

    fileprivate var fileRoles: [FileRole] {
        guard let image else { return [.image] }
        let own = image.top.devices.count
        return devices.indices.map { $0 == 0 ? .image : $0 < own ? .data : .below }
    }
}

extension MirrorStart {
    /// Notes why the job is refused: what is done about it need not be all there is.
    func refuse(
        _ kind: TargetDoubt.Kind, in store: BitmapStore, _ error: MirrorError
    ) throws(MirrorError) -> Never {
        // A store that can't be written keeps any job on the bitmap from beginning.
        if let reference { try? store.noteRefusal(kind, by: reference) }
        throw error
    }

    /// Looks whether all that was written to the source is marked.
    func sourceFinding(in store: BitmapStore) throws(MirrorError) -> SourceFinding {
        guard let reference else { preconditionFailure("a job on a bitmap") }
        // The kernel has told of all, whatever its counters show by now.
        if isTracked { return .marked }
        return try source.finding(
            by: reference, in: store, imageMarks: imageMarks?.bits.copy(),
            isRecording: imageMarks?.isRecording)
    }
}

extension Disk {
    /// See `SourceFinding`.
    ///
    /// - Throws: `.olderThanMarks` for a state of the source that lacks some of what is marked:
    ///   which marks it has, nobody can tell.
    /// - Parameters:
    ///   - imageMarks: what a bitmap in the image has marked.
    ///   - isRecording: whether that takes marks; of its own the store knows it.
    func finding(
        by reference: BitmapReference, in store: BitmapStore,
        imageMarks: borrowing DirtyBitmap? = nil, isRecording: Bool? = nil
    ) throws(MirrorError) -> SourceFinding {
        let (found, records) = try known(of: reference, in: store, imageMarks, isRecording)
        guard let found else { return .marked }
        guard !found.history.isOlder(witness()) else {
            throw .olderThanMarks(bitmap: reference.name, source: path)
        }
        return SourceFinding(
            self, found.history, hasNewMarks: found.hasNewMarks, hasMarks: found.hasMarks,
            isRecording: records, isInImage: reference.isInImage)
    }

    /// What the store knows of a bitmap; nil: nothing. And whether it takes marks.
    private func known(
        of reference: BitmapReference, in store: BitmapStore,
        _ imageMarks: borrowing DirtyBitmap?, _ isRecording: Bool?
    ) throws(MirrorError) -> (
        (history: BitmapHistory, hasNewMarks: Bool, hasMarks: Bool)?, isRecording: Bool
    ) {
        do throws(BitmapStoreError) {
            guard let found = try store.history(of: reference, imageMarks: imageMarks) else {
                return (nil, false)
            }
            if let isRecording { return (found, isRecording) }
            return (found, try store.bitmap(reference.name).state == .recording)
        } catch {
            throw .store(error)
        }
    }
}

extension BitmapReference {
    var isInImage: Bool { if case .image = self { true } else { false } }
}
