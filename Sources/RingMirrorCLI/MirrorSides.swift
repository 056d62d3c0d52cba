import RingMirror

/// Opens the two sides of a mirror, with all the guards, for every command that makes one.
extension Complaint {
    /// Ends with why no job can run with these options or on this machine. To be asked before the
    /// target is opened, which with --create makes it.
    func checkJobs(_ copying: CopyOptions) throws {
        do throws(MirrorError) {
            try copying.mirrorOptions.validate()
            try MirrorJob.checkRing()
        } catch {
            throw end("\(error)", Exit(error))
        }
    }

    func openSource(
        _ path: String, _ guards: GuardOptions, _ copying: CopyOptions
    ) throws -> StorageDevice {
        let source = try attempt { () throws(StorageError) in
            try StorageDevice.openSource(
                FilePath(path),
                options: SourceOptions(
                    cache: copying.cache, allowSourceInUse: guards.allowSourceInUse))
        }
        sayNotes(of: source)
        return source
    }

    func openTarget(
        _ path: String, for source: StorageDevice, _ guards: GuardOptions, _ copying: CopyOptions
    ) throws -> StorageDevice {
        let target = try attempt { () throws(StorageError) in
            try StorageDevice.openTarget(
                FilePath(path), for: source,
                options: TargetOptions(
                    cache: copying.cache, create: guards.create, overwrite: guards.overwrite,
                    allowLarger: guards.allowLarger))
        }
        sayNotes(of: target)
        return target
    }

    private func sayNotes(of device: StorageDevice) {
        guard !output.quiet else { return }
        for note in device.notes { Output.errorLine("ringmirror: \(note)") }
    }
}
