import ArgumentParser
import RingMirror

/// Opens the two ends of a mirror for a command, with every guard.
struct MirrorSides {
    let source: Disk
    let target: Disk
    /// The target was made by this command.
    var isNew: Bool { made != nil }
    /// The target goes on behind what the mirror writes.
    var hasLargerTarget: Bool {
        // A qcow2 image has whole sectors.
        let padding: Int64 = target.image == nil ? 0 : 511
        return target.geometry.size > source.geometry.size + padding
    }
    /// The file that was made.
    private let made: Files.Identity?

    /// Checks what does not depend on the disks. Before the target is opened, which may make it.
    static func prepare(_ options: MirrorOptions, _ complaint: Complaint) throws {
        do throws(MirrorError) {
            try options.validate()
            try MirrorJob.check(options.io)
        } catch {
            throw complaint.end(error)
        }
    }

    /// - Parameters:
    ///   - namedFileOnly: an image that needs another file is refused.
    ///   - changesBitmaps: the mirror may have to change a bitmap inside the image.
    ///   - expectsUse: it is no news that the source is in use.
    static func openSource(
        _ path: PathArgument, format: ImageFormat?, namedFileOnly: Bool = false,
        changesBitmaps: Bool = false, expectsUse: Bool = false,
        _ cache: CacheChoice, _ guards: GuardOptions, _ complaint: Complaint
    ) throws -> Disk {
        Signals.enter(.reading("opening \(path)"))
        var options = SourceOptions(
            cache: cache, allowSourceInUse: guards.allowSourceInUse, namedFileOnly: namedFileOnly)
        options.expectsUse = expectsUse
        do throws(StorageError) {
            return try Disk.openSource(
                path.path, format: format, changesBitmaps: changesBitmaps, options: options)
        } catch {
            let failure = Failure(error)
            guard case .refused(.sourceInUse) = error else { throw complaint.end(failure) }
            throw complaint.end(
                failure.adding(
                    "Or copy a disk in use with `ringmirror live`, or accept a copy that mixes "
                        + "times with --allow-source-in-use."))
        }
    }

    init(
        _ source: Disk, _ path: PathArgument, _ format: TargetFormatOptions,
        _ options: TargetOptions, _ complaint: Complaint
    ) throws {
        Signals.enter(options.create ? .making("making \(path)") : .reading("opening \(path)"))
        if options.create { try Self.checkPlace(of: path, for: source, format, complaint) }
        target = try complaint.attempt { () throws(StorageError) in
            try Disk.openTarget(
                path.path, for: source, format: format.targetFormat,
                newImage: format.newImage(size: source.geometry.size), options: options)
        }
        self.source = source
        made =
            options.create && target.device.kind == .image ? Files.identity(of: path.path) : nil
        Signals.enter(.making("preparing the mirror"))
    }

    /// Refuses what no new file can be made as, before anything is.
    static func checkPlace(
        of path: PathArgument, for source: Disk, _ format: TargetFormatOptions,
        _ complaint: Complaint
    ) throws {
        if let mistake = PathArgument.unsupportedName(path.path.string) {
            throw complaint.end(.unsupportedName, mistake.problem, remedy: mistake.remedy, .usage)
        }
        let folder = path.path.removingLastComponent()
        guard folder.isEmpty || Files.isDirectory(folder) else {
            throw complaint.end(
                Failure(
                    .notFound,
                    "\(path): there is no directory \(folder)",
                    remedy: "Make it first, or choose another place.", path: folder, .usage))
        }
        try checkStore(beside: path, for: source, format, complaint)
    }

    /// Refuses a new file that the mirror could not be begun to, because of what stands where its
    /// bitmaps are looked for.
    private static func checkStore(
        beside path: PathArgument, for source: Disk, _ format: TargetFormatOptions,
        _ complaint: Complaint
    ) throws {
        guard !Files.exists(path.path) else { return }
        let isImage = format.format(forNew: path) == .qcow2
        let size = source.geometry.size
        let place = StorePlace.path(image: path.path)
        do throws(BitmapStoreError) {
            let store = try BitmapStore.open(place, for: nil, access: .readOnly)
            let stored = try store.device().size
            let actual = isImage ? (size + 511) & ~511 : size
            guard stored == actual else {
                throw .wrongSize(path: place, stored: stored, actual: actual)
            }
            _ = try store.bitmaps()
        } catch .notFound {
        } catch {
            throw complaint.end(error)
        }
    }

    /// Makes the mirror, or ends the command: a target that was made for nothing goes as well.
    func begin<Mirror>(
        _ complaint: Complaint, _ body: () throws(MirrorError) -> Mirror
    ) throws(ExitCode) -> Mirror {
        do throws(MirrorError) { return try body() } catch {
            removeMade()
            throw complaint.end(error)
        }
    }

    /// Removes the target if it was made by this command and is still the file that was made.
    func removeMade() {
        guard let made, Files.identity(of: target.path) == made else { return }
        Files.remove(target.path)
    }
}
