import ArgumentParser
import RingMirror

/// Finds out what a mirror would do, and does nothing of it.
///
/// Both sides are opened as for the mirror, with every guard, and the mirror is begun on a copy of
/// the store, with every look that comes before its first byte. It is not run.
struct DryRun {
    let command: String
    let source: Disk
    let path: PathArgument
    /// The target would be made.
    let create: Bool
    let output: OutputOptions
    let complaint: Complaint
    /// Only what differs would be written.
    var onlyDifferences = false

    /// What would be lost on the target.
    private var overwrites: [String] = []
    /// What would have to be mended afterwards.
    private var tableNote: PartitionTableNote?
    /// A new image would be made on a disk.
    private var isOnDisk = false
    /// The qcow2 image that would be made, if one would be.
    private(set) var newImage: NewImageOptions?

    init(
        _ command: String, _ source: Disk, _ path: PathArgument, create: Bool,
        _ output: OutputOptions, _ complaint: Complaint
    ) {
        self.command = command
        self.source = source
        self.path = path
        self.create = create
        self.output = output
        self.complaint = complaint
    }

    /// The target, opened with all guards; nil if it would be made.
    ///
    /// - Parameter mayOverwrite: the user has agreed to lose what is on it, which is then listed.
    mutating func openTarget(
        _ format: TargetFormatOptions, _ options: TargetOptions, mayOverwrite: Bool
    ) throws -> Disk? {
        guard !create else {
            let image = format.newImage(size: source.geometry.size)
            let kind = format.format(forNew: path)
            if kind == .qcow2 { newImage = image }
            guard kind == .qcow2 && Files.isDisk(path.path) else {
                try checkNewTarget(format)
                if kind == .qcow2 {
                    try complaint.attempt { () throws(StorageError) in
                        try Disk.checkNewImage(
                            at: path.path, for: source, newImage: image, options: options)
                    }
                }
                tableNote = source.partitionTableNote(
                    copiedToNew: path.path, format: format.targetFormat)
                return nil
            }
            isOnDisk = true
            try rehearse(image, options)
            return nil
        }
        let (target, lost) = try openAsked(mayOverwrite, options) {
            (options) throws(StorageError) in try open(format, options)
        }
        overwrites = lost
        tableNote = source.partitionTableNote(copiedTo: target)
        return target
    }

    /// A new image on a disk.
    private mutating func rehearse(_ image: NewImageOptions, _ options: TargetOptions) throws {
        let (warnings, lost) = try openAsked(options.overwrite, options) {
            (options) throws(StorageError) in
            try Disk.rehearseImage(on: path.path, for: source, newImage: image, options: options)
        }
        overwrites = lost
        for warning in warnings { output.warn(.device, warning) }
    }

    /// Opens with all guards, and finds out what the user has agreed to lose.
    private func openAsked<Opened>(
        _ mayOverwrite: Bool, _ options: TargetOptions,
        _ open: (TargetOptions) throws(StorageError) -> Opened
    ) throws -> (opened: Opened, lost: [String]) {
        Signals.enter(.reading("opening \(path)"))
        var options = options
        var lost: [String] = []
        do throws(StorageError) {
            if mayOverwrite {
                options.overwrite = false
                return (try open(options), [])
            }
        } catch .refused(.carriesSignature(_, _, let signatures)) {
            lost = signatures.map { "\($0)" }
        } catch .refused(.holdsData(_, _, let found)) {
            lost = ["\(found)"]
        } catch .image(let problem) where problem.kind == .refused {
            lost = ["what the image \(problem.file) has in it"]
        } catch {
            // What agreeing does not help against is found again.
        }
        options.overwrite = options.overwrite || mayOverwrite
        let agreed = options
        let opened = try complaint.attempt { () throws(StorageError) in try open(agreed) }
        return (opened, lost)
    }

    private func open(
        _ format: TargetFormatOptions, _ options: TargetOptions
    ) throws(StorageError) -> Disk {
        try Disk.openTarget(path.path, for: source, format: format.targetFormat, options: options)
    }

    /// What the guards look at before they make a file.
    private func checkNewTarget(_ format: TargetFormatOptions) throws {
        try MirrorSides.checkPlace(of: path, for: source, format, complaint)
        if Files.exists(path.path) {
            throw complaint.end(.refused(.alreadyExistsForCreate(target: path.path)))
        }
        try complaint.attempt { () throws(StorageError) in
            try StorageDevice.checkNewFile(at: path.path)
        }
    }

    /// What the mirror would copy. It is begun on a copy of the store that goes away again.
    func plan(
        _ store: FilePath,
        _ begin: (RecordedMirror.RecordPlace) throws(MirrorError) -> RecordedMirror
    ) throws -> Measurement {
        try onCopy(of: store) { (records, warn, exit) throws(MirrorError) in
            let mirror = try begin(records)
            warn(mirror.warnings)
            // The mirror would have begun by then, and fail.
            exit = .failed
            try mirror.checkTargetBitmaps()
            exit = nil
            let bits = mirror.plannedBits()
            guard bits.dirtyBytes < bits.size else { return try .full(of: source) }
            return try .incremental(of: source, dirty: bits)
        }
    }

    /// What an incremental mirror to a new overlay would copy.
    ///
    /// - Parameter base: what that would stand on.
    func plan(
        _ store: FilePath, overlayOf base: Disk, _ request: RecordedMirror.Request,
        _ zeroes: ZeroHandling
    ) throws -> Measurement {
        try onCopy(of: store) { (records, warn, _) throws(MirrorError) in
            let demand = try RecordedMirror.demand(
                from: source, toOverlayOf: base, request: request, records: records)
            warn(demand.warnings)
            return try .incremental(
                of: source, dirty: demand.bits, target: newImage, zeroes: zeroes)
        }
    }

    /// Opens what the new image would stand on.
    func openBacking(_ image: NewImageOptions, namedFileOnly: Bool) throws -> Disk? {
        guard let name = image.backingFile else { return nil }
        let file = path.path.removingLastComponent().pushing(FilePath(name))
        return try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                file, format: image.backingFormat.flatMap { ImageFormat(rawValue: $0) },
                options: SourceOptions(namedFileOnly: namedFileOnly))
        }
    }

    /// - Parameter look: gets the store, what tells warnings, and the exit code of an error if that
    ///   is not the usual one.
    private func onCopy(
        of store: FilePath,
        _ look: (RecordedMirror.RecordPlace, ([String]) -> Void, inout Exit?) throws(MirrorError)
            -> Measurement
    ) throws -> Measurement {
        Signals.enter(.making("looking at the records"))
        output.tellAbout(source)
        let copy = try copy(of: store)
        defer { copy.remove() }
        let warn = { (warnings: [String]) in
            for warning in warnings {
                output.warn(.mirror, warning.replacing(copy.file.string, with: store.string))
            }
        }
        var exit: Exit?
        do throws(MirrorError) {
            return try look(.path(copy.file), warn, &exit)
        } catch {
            let failure = Failure(error)
            throw complaint.end(
                failure.told(
                    failure.message.replacing(copy.file.string, with: store.string),
                    path: failure.path == copy.file.string ? store : nil, exit ?? failure.exit))
        }
    }

    private func copy(of store: FilePath) throws -> TemporaryFile {
        do throws(Errno) {
            return try TemporaryFile(copying: store)
        } catch {
            throw complaint.end(
                Failure(
                    .systemCall,
                    "can't make a copy of \(store) to try this on: \(error)",
                    remedy: "Set TMPDIR to a directory that takes it.", path: store, .failed))
        }
    }

    /// Says what would be done.
    func tell(_ plan: Measurement) {
        output.note(tableNote)
        if output.json {
            Events.print(
                Events.DryRun(
                    command: command, source: source.path.string, target: "\(path)",
                    wouldCreate: create, onlyDifferences: onlyDifferences ? true : nil,
                    overwrites: overwrites, size: plan.size,
                    planned: plan.planned, read: plan.dataBytes, zeroed: plan.zeroBytes,
                    required: create ? plan.required : nil))
            return
        }
        guard !output.quiet else { return }
        Output.line("dry run: nothing was written")
        let how = isOnDisk ? "made a qcow2 image" : create ? "made" : "written"
        Output.line(
            "\(path) would be \(how) from \(source.path): "
                + "\(ByteSize.text(plan.planned)) of "
                + "\(ByteSize.text(plan.size))")
        if onlyDifferences {
            Output.line(
                "  \(ByteSize.text(plan.planned)) of both sides to be compared, and what differs "
                    + "to be copied; `ringmirror compare` tells how much that is")
        } else {
            Output.line(
                "  \(ByteSize.text(plan.dataBytes)) to be read and written, "
                    + "\(ByteSize.text(plan.zeroBytes)) to be made zero")
        }
        if create {
            let what = isOnDisk ? "image" : "file"
            Output.line("  the new \(what) needs up to \(ByteSize.text(plan.required))")
        }
        for thing in overwrites { Output.line("  overwritten: \(thing)") }
    }
}

extension Events {
    struct DryRun: Encodable {
        let event = "dryRun"
        let command, source, target: String
        let wouldCreate: Bool
        var onlyDifferences: Bool?
        let overwrites: [String]
        let size, planned, read, zeroed: Int64
        let required: Int64?
    }
}
