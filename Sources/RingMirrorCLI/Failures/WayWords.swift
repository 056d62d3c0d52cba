import RingMirror

extension Way {
    /// What the command line calls the way: a clause that begins with a verb.
    var command: String {
        switch self {
        case .create: "use --create to make a new image file"
        case .openExisting: "leave --create out to write to what is there"
        case .overwrite: "use --overwrite to destroy what it holds"
        case .allowLarger: "use --allow-larger"
        case .buffer: "use --cache buffered or --cache auto"
        case .openReferred: "leave --no-backing out"
        case .format(let role, let format): "say \(role.formatOption) \(format)"
        case .takeAsMirror: "say --new-target to accept the target as it is"
        case .verifyAll: "use --verify=all to compare everything after the copy"
        case .writeZeros: "leave --target-is-zero out"
        case .beginAnew: "run without --resume"
        case .beginAnewOver:
            "begin anew without --resume (a full mirror with --overwrite, and without --create)"
        case .ignoreSourceErrors:
            "use `ringmirror full --on-source-error ignore` to copy everything else"
        case .waitForSpace: "use --on-target-error enospc to wait for it"
        case .keepOverlay: "use --keep to leave the overlay as it is"
        case .fewerRequests: "lower --depth where there is that"
        case .lessMemory: "lower --depth or --request-size where there are those"
        case .addBitmap: "add one with `ringmirror bitmap add`"
        case .moveStore: "keep the store elsewhere (--bitmaps FILE)"
        case .removeAllBitmaps: "remove all bitmaps with `ringmirror bitmap remove --all`"
        case .findDifferences:
            "find what was written with `ringmirror bitmap diff`, which compares,"
        case .mirrorInFull: "make a new mirror with `ringmirror full`"
        case .forgetJobs(let disk):
            "forget all interrupted jobs from \(disk): `ringmirror bitmap remove \(disk) --jobs`"
        case .resumeInterrupted: "run the command that was interrupted again, with --resume"
        case .mirrorDifferences: "use `ringmirror full --only-differences --bitmap`"
        case .stopTracking: "stop that first with `ringmirror track stop`"
        case .startTracking: "begin that with `ringmirror track start`"
        case .mirrorLive: "use `ringmirror live`"
        case .inspect(let name): "see `ringmirror info \(name)`"
        }
    }
}

extension DiskRole {
    /// The option that says what format the disk has.
    var formatOption: String {
        switch self {
        case .source: "--source-format"
        case .target: "--target-format"
        case .first: "--first-format"
        case .second: "--second-format"
        case .bitmapOwner: "--image-format"
        case .only: "--format"
        }
    }
}

extension DescribedError {
    /// What is wrong and what to do about it, in the command line's words.
    var told: String { text(\.command) }
}
