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

    /// What would be lost on the target.
    private var overwrites: [String] = []
    /// What would have to be mended afterwards.
    private var tableNote: PartitionTableNote?

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
        if create {
            try checkNewTarget()
            tableNote = source.partitionTableNote(
                copiedToNew: path.path, format: format.targetFormat)
            return nil
        }
        Signals.enter(.reading("opening \(path)"))
        var options = options
        do throws(StorageError) {
            if mayOverwrite {
                options.overwrite = false
                return try open(format, options)
            }
        } catch .refused(.carriesSignature(_, _, let signatures)) {
            overwrites = signatures.map { "\($0)" }
        } catch .refused(.holdsData(_, _, let found)) {
            overwrites = ["\(found)"]
        } catch {
            // Whatever else agreeing does not help against is found again.
            overwrites = ["\(error)"]
        }
        options.overwrite = options.overwrite || mayOverwrite
        return try complaint.attempt { () throws(StorageError) in try open(format, options) }
    }

    private mutating func open(
        _ format: TargetFormatOptions, _ options: TargetOptions
    ) throws(StorageError) -> Disk {
        let target = try Disk.openTarget(
            path.path, for: source, format: format.targetFormat, options: options)
        tableNote = source.partitionTableNote(copiedTo: target)
        return target
    }

    /// What the guards look at before they make a file.
    private func checkNewTarget() throws {
        try MirrorSides.checkPlace(of: path, complaint)
        if Files.exists(path.path) {
            throw complaint.end(.refused(.alreadyExistsForCreate(target: path.path)))
        }
        if path.path.starts(with: "/dev") {
            throw complaint.end(.refused(.underDev(target: path.path)))
        }
    }

    /// What the mirror would copy. It is begun on a copy of the store that goes away again.
    func plan(
        _ store: FilePath,
        _ begin: (RecordedMirror.RecordPlace) throws(MirrorError) -> RecordedMirror
    ) throws -> Measurement {
        Signals.enter(.making("looking at the records"))
        let copy = try copy(of: store)
        defer { copy.remove() }
        do throws(MirrorError) {
            let mirror = try begin(.path(copy.file))
            for note in mirror.notes { output.warn(.mirror, note) }
            let bits = mirror.plannedBits()
            guard bits.dirtyBytes < bits.size else { return try .full(of: source) }
            return try .incremental(of: source, dirty: bits)
        } catch {
            let failure = Failure(error)
            throw complaint.end(
                Failure(
                    failure.code,
                    failure.message.replacing(copy.file.string, with: store.string),
                    failure.exit))
        }
    }

    private func copy(of store: FilePath) throws -> TemporaryFile {
        do throws(Errno) {
            return try TemporaryFile(copying: store)
        } catch {
            throw complaint.end(
                Failure(.systemCall, "can't copy \(store): \(error)", path: store, .failed))
        }
    }

    /// Says what would be done.
    func tell(_ plan: Measurement) {
        output.note(tableNote)
        if output.json {
            Events.print(
                Events.DryRun(
                    command: command, source: source.path.string, target: "\(path)",
                    wouldCreate: create, overwrites: overwrites, size: plan.size,
                    planned: plan.planned, read: plan.dataBytes, zeroed: plan.zeroBytes,
                    required: create ? plan.required : nil))
            return
        }
        guard !output.quiet else { return }
        Output.line("dry run: nothing was written")
        Output.line(
            "\(path) would be "
                + (create ? "made, and become" : "written, and become")
                + " a mirror of \(source.path): \(ByteSize.text(plan.planned)) of "
                + "\(ByteSize.text(plan.size))")
        Output.line(
            "  \(ByteSize.text(plan.dataBytes)) to be read and written, "
                + "\(ByteSize.text(plan.zeroBytes)) to be made zero")
        if create {
            Output.line("  the new file needs up to \(ByteSize.text(plan.required))")
        }
        for thing in overwrites { Output.line("  overwritten: \(thing)") }
    }
}

extension Events {
    struct DryRun: Encodable {
        let event = "dryRun"
        let command, source, target: String
        let wouldCreate: Bool
        let overwrites: [String]
        let size, planned, read, zeroed: Int64
        let required: Int64?
    }
}
