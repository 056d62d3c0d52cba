/// Which error it is, for programs. The raw values are a contract; see docs/json.md. Errors of all
/// layers are here, so that each front end tells them in the same way.
public enum ErrorCode: String, Sendable, CaseIterable {
    // What was asked for.
    case invalidOption
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
    case bitmapTracked
    case ambiguousBitmap, bitmapRemade
    case bitmapDisabled, sizesDiffer, rangeOutside, invalidGranularity, wrongDevice, wrongSize
    case noStore, storeExists, notAStore, storeVersion, storeDamaged, storeTruncated
    case storeUnwritable, storeLocked, storeNoLocks, storeReadOnly, storeVanished, noSuchJob
    case jobRunning, tooManyBitmaps
    case otherTarget, otherContent, halfMirror, nothingToResume, changedSinceInterrupt
    case foreignWrites, unmarkedWrites, marksTaken, olderThanMarks
    // Change maps.
    case mapUnrecognized, mapAmbiguous, mapUnsupported, mapOption, mapMalformed
    case mapMisplaced, mapBeyondDevice, mapUntrustworthy, mapTooLarge
    // Jobs.
    case noRing, outOfMemory, transferFailed, shrank, flushFailed, incomplete, tooManyFailures
    case interrupted
    case writtenMeanwhile, openedMeanwhile, movedMeanwhile
    case verificationFailed, verificationIncomplete, targetResized
    // Sources that are written while they are copied.
    case writersNotHeld, stillFrozen, writesUnseen, notTracked
    // Disks that the kernel tracks.
    case trackingUnavailable, diskNotTrackable, noSuchTracker, trackerInUse, trackerInvalid
    // The system.
    case systemCall
}
