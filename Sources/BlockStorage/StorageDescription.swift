internal import SystemPackage

/// What a path led to, open and checked for kind, before anything else is known about it.
struct OpenedObject {
    let path: FilePath
    let kind: StorageKind
    let descriptor: Descriptor
    let status: FileStatus
    let resolvedPath: String
    /// False if the kernel refused O_EXCL because somebody else has the claim.
    let isClaimed: Bool
    /// Who else could write an image when it was opened.
    let writers: SystemCalls.Writers
    /// How long writes of a process that has ended were waited for.
    let landing: Landing
    /// Who else writes it, from before anything was asked; nil: nobody listens.
    let watch: WriterWatch?
}

/// Geometry and identity of an open object.
struct StorageDescription {
    let geometry: Geometry
    let identity: DeviceIdentity
    let zeroing: ZeroingAbility
    let filesystem: Filesystem?

    /// The largest disk: a granule less than what a file can have.
    private static let sizeMax = Int64.max - (4 << 30)

    static func describe(
        _ opened: OpenedObject, _ direct: DirectAccess, _ view: SystemView
    ) throws(StorageError) -> StorageDescription {
        let found =
            switch opened.kind {
            case .disk: try describeDisk(opened, direct, view)
            case .image: try describeImage(opened, direct, view)
            }
        // What is rounded up to granules and clusters must not leave the range of a number.
        guard found.geometry.size <= sizeMax else {
            throw .image(
                ImageProblem(
                    .unsupported, opened.path,
                    "it has \(found.geometry.size) bytes, and \(sizeMax) are the most"))
        }
        return found
    }

    private static func describeDisk(
        _ opened: OpenedObject, _ direct: DirectAccess, _ view: SystemView
    ) throws(StorageError) -> StorageDescription {
        let size: Int64
        let logical: Int
        do throws(Errno) {
            size = try SystemCalls.blockDeviceSize(opened.descriptor.raw)
            logical = try SystemCalls.logicalBlockSize(opened.descriptor)
        } catch {
            throw .systemCall(call: "asking for its size", path: opened.path, code: error)
        }
        // Mirroring nothing would succeed, and be taken for a mirror.
        guard size > 0 else { throw .noMedium(path: opened.path) }
        let number = opened.status.special
        let limits = view.queueLimits(of: number)
        let physical = try? SystemCalls.physicalBlockSize(opened.descriptor)
        return StorageDescription(
            geometry: Geometry(
                size: size,
                logicalBlockSize: logical,
                physicalBlockSize: max(physical ?? logical, logical),
                memoryAlignment: direct.memoryAlignment,
                offsetAlignment: direct.offsetAlignment,
                optimalTransfer: limits.optimalTransfer,
                maxTransfer: limits.maxTransfer,
                queueDepth: limits.queueDepth,
                isRotational: limits.isRotational),
            identity: view.identity(
                of: number, size: size,
                diskSequence: SystemCalls.diskSequence(opened.descriptor)),
            zeroing: ZeroingAbility(
                writeZeroesMaxBytes: limits.writeZeroesMaxBytes,
                discardMaxBytes: limits.discardMaxBytes,
                punchesHoles: view.loopsPunchHoles(under: number)),
            filesystem: nil)
    }

    private static func describeImage(
        _ opened: OpenedObject, _ direct: DirectAccess, _ view: SystemView
    ) throws(StorageError) -> StorageDescription {
        let filesystem: Filesystem
        let status: FileStatus
        do throws(Errno) {
            filesystem = Filesystem(magic: try SystemCalls.filesystemMagic(opened.descriptor))
            // A new image was stretched after it was opened, so the first look is too old.
            status = try SystemCalls.status(of: opened.descriptor)
        } catch {
            throw .systemCall(call: "asking for its size", path: opened.path, code: error)
        }
        let limits = view.queueLimits(of: opened.status.device)
        let logical = limits.logicalBlockSize ?? 512
        var identity = DeviceIdentity(image: status)
        if status.born == nil {
            identity.generation = SystemCalls.generation(of: opened.descriptor)
        }
        identity.filesystem = filesystem.name
        return StorageDescription(
            geometry: Geometry(
                size: status.size,
                logicalBlockSize: logical,
                physicalBlockSize: max(limits.physicalBlockSize ?? logical, logical),
                memoryAlignment: direct.memoryAlignment,
                offsetAlignment: direct.offsetAlignment,
                optimalTransfer: limits.optimalTransfer,
                maxTransfer: limits.maxTransfer,
                queueDepth: limits.queueDepth,
                isRotational: limits.isRotational),
            identity: identity,
            zeroing: ZeroingAbility(
                writeZeroesMaxBytes: 0, discardMaxBytes: 0,
                punchesHoles: filesystem.punchesHoles),
            filesystem: filesystem)
    }

    /// What was remarkable about the opening, in sentences.
    ///
    /// - Parameter landing: how long was waited for the file and for its locks.
    static func notes(
        _ opened: OpenedObject, _ landing: Landing, _ direct: DirectAccess, _ view: SystemView
    ) -> [String] {
        landing.notes(opened.path) + directNotes(opened, direct, view)
    }

    /// Where O_DIRECT was accepted and still does not mean what it says, in sentences.
    private static func directNotes(
        _ opened: OpenedObject, _ direct: DirectAccess, _ view: SystemView
    ) -> [String] {
        guard direct.caching == .direct else { return [] }
        switch opened.kind {
        case .image:
            let magic = try? SystemCalls.filesystemMagic(opened.descriptor)
            return magic.flatMap { Filesystem(magic: $0).directCaveat }.map { [$0] } ?? []
        case .disk:
            guard let disk = view.diskDirectory(of: opened.status.special),
                view.number(disk + "/loop/dio") == 0
            else { return [] }
            return [
                "a loop device without direct I/O of its own (losetup --direct-io=on): its file "
                    + "goes through the page cache"
            ]
        }
    }
}
