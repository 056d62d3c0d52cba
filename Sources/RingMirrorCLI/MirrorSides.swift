import RingMirror

/// Opens the two ends of a mirror for a command, with every guard.
struct MirrorSides {
    let source: Disk
    let target: Disk
    /// The target was made by this command.
    let isNew: Bool

    /// Checks what does not depend on the disks. Before the target is opened, which may make it.
    static func prepare(_ copying: CopyOptions, _ complaint: Complaint) throws {
        do throws(MirrorError) {
            try copying.mirrorOptions.validate()
            try MirrorJob.checkRing()
        } catch {
            throw complaint.end(error)
        }
    }

    static func openSource(
        _ path: String, _ copying: CopyOptions, _ guards: GuardOptions, _ complaint: Complaint
    ) throws -> StorageDevice {
        try complaint.attempt { () throws(StorageError) in
            try StorageDevice.openSource(
                FilePath(path),
                options: SourceOptions(
                    cache: copying.cache, allowSourceInUse: guards.allowSourceInUse))
        }
    }

    init(
        _ source: StorageDevice, _ path: String, _ options: TargetOptions,
        output: OutputOptions, _ complaint: Complaint
    ) throws {
        target = Disk(
            try complaint.attempt { () throws(StorageError) in
                try StorageDevice.openTarget(FilePath(path), for: source, options: options)
            })
        self.source = Disk(source)
        isNew = options.create
        if !output.quiet {
            for note in source.notes + target.notes { Output.errorLine("ringmirror: \(note)") }
        }
    }
}
