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

    /// - Parameter changesBitmaps: the mirror may have to change a bitmap inside the image.
    static func openSource(
        _ path: String, format: ImageFormat?, changesBitmaps: Bool = false,
        _ copying: CopyOptions, _ guards: GuardOptions, _ complaint: Complaint
    ) throws -> Disk {
        try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                FilePath(path), format: format, changesBitmaps: changesBitmaps,
                options: SourceOptions(
                    cache: copying.cache, allowSourceInUse: guards.allowSourceInUse))
        }
    }

    init(
        _ source: Disk, _ path: String, _ format: TargetFormatOptions, _ options: TargetOptions,
        output: OutputOptions, _ complaint: Complaint
    ) throws {
        target = try complaint.attempt { () throws(StorageError) in
            try Disk.openTarget(
                FilePath(path), for: source, format: format.targetFormat,
                newImage: format.newImage(size: source.geometry.size), options: options)
        }
        self.source = source
        isNew = options.create
        if !output.quiet {
            for note in source.notes + target.notes { Output.errorLine("ringmirror: \(note)") }
        }
    }
}
