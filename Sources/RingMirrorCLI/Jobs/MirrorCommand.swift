import ArgumentParser
import RingMirror

/// A command that makes a mirror with a record: `full`, `top` or `incremental`. They differ in what
/// is copied, and in what has to be known for that; the way from options to the end is one.
protocol MirrorCommand: ParsableCommand {
    /// What is copied.
    static var mode: JobMode { get }
    /// The same, where options say it.
    var jobMode: JobMode { get }
    /// The name of the command.
    static var name: String { get }
    /// It is no news that SOURCE is in use.
    static var expectsUse: Bool { get }

    /// SOURCE, whatever the command calls it.
    var sourcePath: PathArgument { get }
    /// What SOURCE is, if that was said or has to be so.
    var knownSourceFormat: ImageFormat? { get }
    var target: PathArgument { get }
    /// TARGET is made.
    var create: Bool { get }
    /// The named bitmap that the mirror works on; nil for commands without one.
    var bitmapChoice: BitmapChoice? { get }
    var files: NamedFileOptions { get }
    var guards: GuardOptions { get }
    var copying: CopyOptions { get }
    var recording: RecordOptions { get }
    var targetFormat: TargetFormatOptions { get }
    var tuning: TuningOptions { get }
    var output: OutputOptions { get }

    /// Finds out what is dirty and what is known of the target, before that is opened.
    func basis(of source: Disk, _ complaint: Complaint) throws -> MirrorBasis
    /// Adds to a request what only this command has to say.
    func complete(_ request: inout RecordedMirror.Request)
    /// Begins the mirror, which resumes none.
    func begin(
        _ source: Disk, _ target: Disk, _ basis: MirrorBasis, _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) -> RecordedMirror
    /// What would be copied to a target that is not there yet.
    func measure(
        _ dryRun: DryRun, _ basis: MirrorBasis, _ complaint: Complaint
    ) throws -> Measurement
}

/// What a mirror rests on that is more than its options say.
struct MirrorBasis {
    /// Another tool's list of changes.
    var map: ChangeMap?
    /// Whatever is on the target is checked before the first write, so that the user need not
    /// agree to lose it.
    var isKnown = false
}

extension MirrorCommand {
    static var name: String { mode.rawValue }
    static var expectsUse: Bool { false }
    var jobMode: JobMode { Self.mode }

    /// The name of the bitmap that the mirror works on.
    var bitmap: String? { bitmapChoice?.name }

    /// What the mirror is asked for.
    var request: RecordedMirror.Request {
        var request = recording.request(jobMode, bitmapChoice, copying, tuning)
        request.allowSourceInUse = guards.allowSourceInUse
        complete(&request)
        return request
    }

    /// What the rules about options have to know.
    var rules: MirrorRules {
        MirrorRules(
            mode: jobMode,
            image: targetFormat.rules(create: create, target: target, files),
            bitmap: bitmapChoice?.name, bitmapMode: bitmapChoice?.mode,
            resume: recording.resume, resumeAuto: recording.resumeAuto,
            targetIsZero: tuning.targetIsZero)
    }

    /// Opens both sides with every guard, and makes the mirror or says what it would do.
    func mirror() throws {
        let complaint = Complaint(output: output)
        try MirrorSides.prepare(tuning.mirrorOptions(copying), complaint)
        let source = try MirrorSides.openSource(
            sourcePath, format: knownSourceFormat, namedFileOnly: files.noBacking,
            changesBitmaps: bitmapChoice?.changesImage(recording.store) ?? false,
            expectsUse: Self.expectsUse,
            tuning.cache, guards, complaint)
        try recording.store.check(for: source, target, complaint)
        try recording.store.requirePlace(complaint)
        let basis = try basis(of: source, complaint)
        let resuming = try recording.resumes(
            jobMode, bitmap: bitmap, from: source, to: target, complaint)
        let creates =
            !resuming && recording.creates(create, target, targetFormat.format(forNew: target))
        // What is resumed is known by its record, which is checked before the first write.
        let isKnown = resuming || basis.isKnown
        let options = TargetOptions(
            cache: tuning.cache, create: creates, overwrite: guards.overwrite || isKnown,
            holdsMirror: jobMode != .full, allowLarger: guards.allowLarger,
            namedFileOnly: files.noBacking)
        if recording.dryRun {
            var dryRun = DryRun(
                Self.name, source, target, create: creates, output, complaint)
            dryRun.onlyDifferences = request.onlyDifferences
            let opened = try dryRun.openTarget(
                targetFormat, options, mayOverwrite: guards.overwrite && !isKnown)
            return dryRun.tell(
                try rehearse(dryRun, opened, basis, resuming: resuming, complaint))
        }
        let sides = try MirrorSides(source, target, targetFormat, options, complaint)
        let mirror = try sides.begin(complaint) { () throws(MirrorError) in
            try begin(
                source, sides.target, basis, .path(recording.store.path(for: source)),
                resuming: resuming)
        }
        let run = MirrorRun(
            command: Self.name, mirror: mirror,
            ending: MirrorEnding(
                sides: sides, bitmap: bitmap,
                leaveOut: creates ? "--create" : basis.map == nil ? nil : "--map",
                isIncrement: jobMode == .incremental && basis.map == nil,
                resumesItself: recording.resumeAuto, output: output))
        try run.run()
    }

    /// - Parameter target: nil: it would be made.
    private func rehearse(
        _ dryRun: DryRun, _ target: Disk?, _ basis: MirrorBasis, resuming: Bool,
        _ complaint: Complaint
    ) throws -> Measurement {
        guard let target else { return try measure(dryRun, basis, complaint) }
        let source = dryRun.source
        return try dryRun.plan(recording.store.path(for: source)) {
            (records) throws(MirrorError) in
            try begin(source, target, basis, records, resuming: resuming)
        }
    }

    private func begin(
        _ source: Disk, _ target: Disk, _ basis: MirrorBasis,
        _ records: RecordedMirror.RecordPlace, resuming: Bool
    ) throws(MirrorError) -> RecordedMirror {
        try recording.begin(
            resuming: resuming, mayOverwrite: guards.overwrite || basis.isKnown, source, target,
            output
        ) { () throws(MirrorError) in
            try .resume(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        } anew: { () throws(MirrorError) in
            try begin(source, target, basis, records)
        }
    }
}
