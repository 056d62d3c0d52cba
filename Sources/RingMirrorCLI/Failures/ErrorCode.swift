import RingMirror

/// What went wrong, for programs: the `code` of an `error` event. A contract; see docs/json.md.
enum ErrorCode: String, Encodable, CaseIterable {
    // The command line.
    case commandLine, invalidOption
    // Paths.
    case notFound, isDirectory, notADiskOrFile, permissionDenied, noMedium, directIORefused
    case changedWhileOpening, unsupportedName, nameNotUTF8
    // Guards.
    case sameStorage, overlap, targetInUse, sourceInUse, readOnlyTarget, targetTooSmall
    case targetLarger, carriesSignature, holdsData, targetExists, targetMissing, underDev, locked
    case openElsewhere, unverifiable
    // Images.
    case imageMalformed, imageUnsupported, imageLacks, imageRefused, imageFull
    // Bitmaps and records of jobs.
    case noSuchBitmap, nameTaken, invalidName, bitmapBusy, targetBusy, bitmapInconsistent
    case ambiguousBitmap, bitmapRemade
    case bitmapDisabled, sizesDiffer, rangeOutside, invalidGranularity, wrongDevice, wrongSize
    case noStore, storeExists, notAStore, storeVersion, storeDamaged, storeTruncated
    case storeUnwritable, storeLocked, storeNoLocks, storeReadOnly, storeVanished, noSuchJob
    case jobRunning, tooManyBitmaps
    case otherTarget, otherContent, halfMirror, nothingToResume, changedSinceInterrupt
    case foreignWrites, unmarkedWrites, marksTaken, olderThanMarks
    // Change maps.
    case mapUnreadable, mapUnrecognized, mapAmbiguous, mapUnsupported, mapOption, mapMalformed
    case mapMisplaced, mapBeyondDevice, mapUntrustworthy, mapTooLarge
    // Jobs.
    case noRing, outOfMemory, transferFailed, shrank, flushFailed, incomplete, tooManyFailures
    case interrupted
    case writtenMeanwhile, movedMeanwhile
    case verificationFailed, verificationIncomplete, targetResized
    // The system, and what is left.
    case systemCall, outputExists, outputUnwritable, outputLost, other
}

/// An error as it is told: to people in words, to programs by its code.
struct Failure {
    let code: ErrorCode
    let message: String
    var path: String?
    let exit: Exit
    private let knownRemedy: String?

    init(
        _ code: ErrorCode, _ message: String, path: FilePath? = nil, remedy: String? = nil,
        _ exit: Exit
    ) {
        self.code = code
        self.message = message
        self.path = path.map { $0.string }
        knownRemedy = remedy
        self.exit = exit
    }

    /// The same failure, told otherwise; what to do about it stays.
    func told(_ message: String, path: FilePath? = nil, _ exit: Exit) -> Failure {
        Failure(
            code, message, path: path ?? self.path.map { FilePath($0) }, remedy: remedy ?? "", exit)
    }

    /// The same failure with one more way on.
    func adding(_ way: String) -> Failure {
        Failure(
            code, "\(message) \(way)", path: path.map { FilePath($0) },
            remedy: [remedy, way].compactMap(\.self).joined(separator: " "), exit)
    }

    /// What to do about it: messages have it in sentences after the first.
    var remedy: String? {
        if let knownRemedy { return knownRemedy.isEmpty ? nil : knownRemedy }
        var rest = message[...]
        // A name may have anything in it.
        if let path, let range = rest.firstRange(of: path) { rest = rest[range.upperBound...] }
        guard let end = rest.firstRange(of: ". ") else { return nil }
        return String(rest[end.upperBound...])
    }
}

extension Failure {
    init(_ error: MirrorError) {
        switch error {
        case .storage(let error): self.init(error)
        case .store(let error): self.init(error)
        default:
            let (code, path): (ErrorCode, FilePath?) =
                switch error {
                case .ring(.noBufferMemory): (.outOfMemory, nil)
                case .ring: (.noRing, nil)
                case .storage, .store: (.other, nil)
                case .transfer(_, let name, _, _, _, _): (.transferFailed, FilePath(name))
                case .shrank(_, let name, _, _): (.shrank, FilePath(name))
                case .flush(let name, _): (.flushFailed, FilePath(name))
                case .incomplete: (.incomplete, nil)
                case .tooManyFailures: (.tooManyFailures, nil)
                case .cancelled: (.interrupted, nil)
                case .writtenMeanwhile(let path, _): (.writtenMeanwhile, path)
                case .movedMeanwhile(let path): (.movedMeanwhile, path)
                case .invalidOption: (.invalidOption, nil)
                case .ambiguousBitmap(_, let image, _): (.ambiguousBitmap, image)
                case .otherTarget(_, let target, _, _): (.otherTarget, target)
                case .otherContent(_, let target, _): (.otherContent, target)
                case .halfMirror(_, let target): (.halfMirror, target)
                case .marksTaken(_, let target): (.marksTaken, target)
                case .foreignWrites(_, let target, _): (.foreignWrites, target)
                case .unmarkedWrites(_, let source, _, _): (.unmarkedWrites, source)
                case .olderThanMarks(_, let source): (.olderThanMarks, source)
                case .verificationFailed(_, let target, _, _, _): (.verificationFailed, target)
                case .verificationIncomplete: (.verificationIncomplete, nil)
                case .targetResized(let target, _, _): (.targetResized, target)
                case .nothingToResume(let target, _): (.nothingToResume, target)
                case .changed(_, let path, _): (.changedSinceInterrupt, path)
                }
            self.init(code, "\(error)", path: path, Exit(error))
        }
    }

    init(_ error: StorageError) {
        if let mistake = error.unsupportedName {
            self.init(.unsupportedName, mistake, .usage)
            return
        }
        var remedy: String?
        let (code, path): (ErrorCode, FilePath?)
        switch error {
        case .notFound(let found): (code, path) = (.notFound, found)
        case .isDirectory(let found): (code, path) = (.isDirectory, found)
        case .notADiskOrFile(let found, _): (code, path) = (.notADiskOrFile, found)
        case .permissionDenied(let found, _): (code, path) = (.permissionDenied, found)
        case .noMedium(let found): (code, path) = (.noMedium, found)
        case .directIORefused(let found, _): (code, path) = (.directIORefused, found)
        case .changedWhileOpening(let found): (code, path) = (.changedWhileOpening, found)
        case .nameNotUTF8: (code, path) = (.nameNotUTF8, nil)
        case .systemCall(_, let found, _, _): (code, path) = (.systemCall, found)
        case .refused(let refusal): (code, path) = (ErrorCode(refusal), refusal.path)
        case .image(let problem):
            (code, path) = (ErrorCode(problem.kind), problem.path)
            remedy = problem.remedy
        }
        self.init(code, "\(error)", path: path, remedy: remedy, Exit(error))
    }

    init(_ error: BitmapStoreError) {
        let (code, path) = error.codeAndPath
        self.init(code, "\(error)", path: path, Exit(error.category))
    }

    init(_ error: ChangeMapError) {
        self.init(
            ErrorCode(error.kind), "\(error)", path: FilePath(error.file), remedy: error.remedy,
            .usage)
    }
}

extension ErrorCode {
    fileprivate init(_ refusal: GuardRefusal) {
        self =
            switch refusal {
            case .sourceIsTarget: .sameStorage
            case .overlaps: .overlap
            case .targetInUse: .targetInUse
            case .sourceInUse: .sourceInUse
            case .readOnlyTarget: .readOnlyTarget
            case .targetTooSmall: .targetTooSmall
            case .targetLarger: .targetLarger
            case .carriesSignature: .carriesSignature
            case .holdsData: .holdsData
            case .alreadyExistsForCreate: .targetExists
            case .missingWithoutCreate: .targetMissing
            case .underDev: .underDev
            case .lockedByOther: .locked
            case .openByProcess: .openElsewhere
            case .unverifiable: .unverifiable
            }
    }

    fileprivate init(_ kind: ImageProblem.Kind) {
        self =
            switch kind {
            case .malformed: .imageMalformed
            case .unsupported: .imageUnsupported
            case .missing: .imageLacks
            case .refused: .imageRefused
            case .full: .imageFull
            }
    }

    fileprivate init(_ kind: ChangeMapError.Kind) {
        self =
            switch kind {
            case .unrecognized: .mapUnrecognized
            case .ambiguous: .mapAmbiguous
            case .unsupported: .mapUnsupported
            case .option: .mapOption
            case .malformed: .mapMalformed
            case .misplaced: .mapMisplaced
            case .beyondDevice: .mapBeyondDevice
            case .untrustworthy: .mapUntrustworthy
            case .tooLarge: .mapTooLarge
            }
    }
}

extension StorageError {
    /// What to say of a name that was never meant to be that of a file.
    fileprivate var unsupportedName: String? {
        let path: FilePath
        switch self {
        case .notFound(let found), .refused(.missingWithoutCreate(let found)): path = found
        default: return nil
        }
        return PathArgument.unsupportedName(path.string)
    }
}

extension GuardRefusal {
    fileprivate var path: FilePath {
        switch self {
        case .sourceIsTarget(_, let target), .overlaps(_, let target, _),
            .targetInUse(let target, _), .readOnlyTarget(let target, _),
            .targetTooSmall(let target, _, _), .targetLarger(let target, _, _),
            .carriesSignature(let target, _, _), .holdsData(let target, _, _),
            .alreadyExistsForCreate(let target),
            .missingWithoutCreate(let target), .underDev(let target),
            .openByProcess(let target, _):
            target
        case .sourceInUse(let path, _), .lockedByOther(let path, _), .unverifiable(let path, _):
            path
        }
    }
}

extension BitmapStoreError {
    fileprivate var codeAndPath: (ErrorCode, FilePath?) {
        switch self {
        case .noSuchBitmap(_, _, let path): (.noSuchBitmap, path)
        case .nameTaken(_, let path): (.nameTaken, path)
        case .invalidName: (.invalidName, nil)
        case .busy: (.bitmapBusy, nil)
        case .targetBusy(let target, _): (.targetBusy, target)
        case .inconsistent(_, let path): (.bitmapInconsistent, path)
        case .disabled: (.bitmapDisabled, nil)
        case .sizesDiffer: (.sizesDiffer, nil)
        case .rangeOutside: (.rangeOutside, nil)
        case .bits: (.invalidGranularity, nil)
        case .wrongDevice(let path, _): (.wrongDevice, path)
        case .wrongSize(let path, _, _): (.wrongSize, path)
        case .notFound(let path): (.noStore, path)
        case .alreadyExists(let path): (.storeExists, path)
        case .notAStore(let path, _): (.notAStore, path)
        case .unsupportedVersion(let path, _): (.storeVersion, path)
        case .damaged(let path, _, _): (.storeDamaged, path)
        case .unwritable(let path, _): (.storeUnwritable, path)
        case .truncated(let path, _, _): (.storeTruncated, path)
        case .locked(let path, _): (.storeLocked, path)
        case .noLocks(let path, _): (.storeNoLocks, path)
        case .readOnly(let path): (.storeReadOnly, path)
        case .vanished(let path): (.storeVanished, path)
        case .noSuchJob(_, let path): (.noSuchJob, path)
        case .jobRunning: (.jobRunning, nil)
        case .tooManyBitmaps(let path, _): (.tooManyBitmaps, path)
        case .unknownTarget(_, let target, _): (.otherTarget, target)
        case .bitmapRemade: (.bitmapRemade, nil)
        case .pathNotText(let path): (.unsupportedName, path)
        case .systemCall(_, let path, _, _): (.systemCall, path)
        }
    }
}
