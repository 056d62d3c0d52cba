/// A way on after an error that the library itself has, by an option or by another job. Front ends
/// have names of their own for them.
public enum Way: Sendable, Hashable {
    // How disks are opened.
    /// Make a new image file.
    case create
    /// Open what is there instead of making it.
    case openExisting
    /// Let what a target holds be destroyed.
    case overwrite
    /// Let a target be larger than its source.
    case allowLarger
    /// Go through the page cache, or choose between that and direct I/O.
    case buffer
    /// Open the files that an image names.
    case openReferred
    /// Say what format a disk has.
    case format(DiskRole, is: String)

    // What a mirror takes for granted, and what it does about errors.
    /// Take a target as it is for one that the bitmap was last mirrored to.
    case takeAsMirror
    /// Compare everything after the copy.
    case verifyAll
    /// Take no one's word for it that the target is zero.
    case writeZeros
    /// Resume nothing.
    case beginAnew
    /// Resume nothing, and begin with what a target has that an interrupted job has written.
    case beginAnewOver
    /// Go on where the source can't be read.
    case ignoreSourceErrors
    /// Wait where the target is full.
    case waitForSpace
    /// Leave the overlay as it is that a commit has copied.
    case keepOverlay

    // What requests need.
    /// Have fewer requests in flight.
    case fewerRequests
    /// Have fewer requests in flight, or smaller ones.
    case lessMemory

    // Bitmaps and where they are kept.
    /// Add a bitmap.
    case addBitmap
    /// Keep the store of bitmaps in another place.
    case moveStore
    /// Remove the records of interrupted jobs from the store of a disk.
    case forgetJobs(String)
    /// Remove all bitmaps of an image.
    case removeAllBitmaps
    /// Compare two disks to find where they differ.
    case findDifferences

    // Other jobs.
    /// Make a full mirror.
    case mirrorInFull
    /// Resume the mirror that was interrupted.
    case resumeInterrupted
    /// Compare all of both sides, and copy what differs.
    case mirrorDifferences
    /// Have the kernel track a disk no longer.
    case stopTracking
    /// Have the kernel track a disk for a bitmap.
    case startTracking
    /// Mirror a disk that is in use.
    case mirrorLive
    /// Ask what a disk consists of.
    case inspect(String)
}

/// What a disk is to the job that opens it.
public enum DiskRole: Sendable, Hashable, CaseIterable {
    case source, target
    /// The two disks of a comparison.
    case first, second
    /// A disk that has bitmaps.
    case bitmapOwner
    /// The only disk.
    case only
}

extension Way: CustomStringConvertible {
    /// The way in words of no front end: a clause that begins with a verb, in lower case.
    public var description: String {
        switch self {
        case .create: "let a new image file be made"
        case .openExisting: "write to what is there"
        case .overwrite: "allow what it holds to be overwritten"
        case .allowLarger: "allow a larger target"
        case .buffer: "allow buffered I/O"
        case .openReferred: "allow the files that it names to be opened"
        case .format(_, let format): "say that its format is \(format)"
        case .takeAsMirror: "accept the target as it is"
        case .verifyAll: "compare everything after the copy"
        case .writeZeros: "let zeros be written"
        case .beginAnew: "begin a new job"
        case .beginAnewOver: "begin a new job, over what the target holds"
        case .ignoreSourceErrors: "let errors of the source be ignored to copy everything else"
        case .waitForSpace: "let the job wait for it"
        case .keepOverlay: "leave the overlay as it is"
        case .fewerRequests: "have fewer requests in flight"
        case .lessMemory: "have fewer requests in flight, or smaller ones"
        case .addBitmap: "add a bitmap"
        case .moveStore: "keep the store elsewhere"
        case .forgetJobs(let disk): "forget the interrupted jobs from \(disk)"
        case .removeAllBitmaps: "remove all bitmaps"
        case .findDifferences: "find what was written by comparing"
        case .mirrorInFull: "make a new mirror in full"
        case .resumeInterrupted: "resume that mirror"
        case .mirrorDifferences: "make a full mirror of what differs with the bitmap"
        case .stopTracking: "stop tracking first"
        case .startTracking: "have the disk tracked for the bitmap"
        case .mirrorLive: "make a live mirror"
        case .inspect(let name): "look at what \(name) consists of"
        }
    }
}
