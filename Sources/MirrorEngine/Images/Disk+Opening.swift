public import BlockStorage
package import DirtyBitmap
public import QCOW2
public import SystemPackage

extension Disk {
    /// Opens what is to be read, with everything that it consists of.
    ///
    /// - Parameters:
    ///   - format: nil: as name and content say, together (see `ImageFormat.guess`).
    ///   - role: what the disk is to the caller, for messages.
    ///   - foreignFormats: what to do about a file that is a container of a format unknown here,
    ///     unless `format` says that it is raw.
    ///   - changesBitmaps: open a qcow2 image so that the bitmaps in it may be changed: as a file
    ///     that is written, with all guards of one.
    /// - Throws: a `GuardRefusal` if anybody may write it meanwhile and `allowSourceInUse` was not
    ///   given; an `ImageProblem` for an image that can't be used.
    public static func openSource(
        _ path: FilePath, format: ImageFormat? = nil, role: DiskRole = .source,
        foreignFormats: ForeignFormatChoice = .refuse, changesBitmaps: Bool = false,
        options: SourceOptions = SourceOptions()
    ) throws(StorageError) -> Disk {
        switch try format.or(guessing: path, as: role) {
        case .raw:
            let device = try StorageDevice.openSource(path, options: options)
            guard format == nil, let foreign = device.foreignFormat else { return Disk(device) }
            let problem = ImageProblem(foreign, path, as: role)
            guard foreignFormats == .note else { throw .image(problem) }
            return Disk(device, warnings: [problem.description])
        case .qcow2:
            if changesBitmaps {
                let device = try StorageDevice.openForChange(
                    path, apartFrom: [], cache: options.cache, watchesWriters: false)
                let image = try WritableImage(
                    device, cache: options.cache, namedFileOnly: options.namedFileOnly,
                    brokenBitmaps: .passed)
                return Disk(image.chain, bitmaps: image.bitmaps)
            }
            let chain = try ImageChain.open(
                path,
                options: ChainOptions(
                    format: .qcow2, cache: options.cache,
                    allowSourceInUse: options.allowSourceInUse,
                    namedFileOnly: options.namedFileOnly))
            return Disk(chain)
        }
    }

    /// Opens what is to be written, or makes it, and runs every guard against all that `source`
    /// consists of.
    ///
    /// - Parameters:
    ///   - format: nil: as name and content say, together; of a new file the name alone.
    ///   - newImage: how a new qcow2 image is made; nil: as one without a backing file. Its size is
    ///     that of the source, rounded up to whole sectors of 512 bytes: QEMU sees no others.
    public static func openTarget(
        _ path: FilePath, for source: Disk, format: ImageFormat? = nil,
        newImage: NewImageOptions? = nil, options: TargetOptions = TargetOptions()
    ) throws(StorageError) -> Disk {
        let format = try (format ?? (options.create ? ImageFormat(forNew: path) : nil))
            .or(guessing: path, as: .target)
        try checkBacking(of: newImage, path, options)
        let size = source.geometry.size
        var newImage = newImage ?? NewImageOptions(size: size)
        newImage.size = wholeSectors(size)
        let device = try StorageDevice.openTarget(
            path, apartFrom: source.devices, size: size, options: options,
            content: format == .raw ? .disk : .format,
            signatureSource: source.image == nil ? source.devices.first : nil
        ) { (file) throws(StorageError) in
            if format == .qcow2 { _ = try newImage.create(in: file) }
        }
        guard format == .qcow2 else { return Disk(device) }
        do throws(StorageError) {
            var warnings: [String] = []
            if device.kind == .disk {
                if options.create {
                    warnings = try makeImage(newImage, on: device)
                }
                try requireImage(on: device)
            }
            let image = try WritableImage(
                device, cache: options.cache, namedFileOnly: options.namedFileOnly,
                held: source.devices)
            try QCOW2Target.requireOwnData(image.writer)
            try check(image, size: size, options)
            if options.create { try requireApart(image.chain, source) }
            warnings += try image.bitmaps.lostByWriting()
            return Disk(image, isNew: options.create, warnings: warnings)
        } catch {
            // What was made for this and can't be used must not stay behind.
            device.removeIfCreated()
            throw error
        }
    }

    /// What reads as the source because it stands on it is no copy of it.
    private static func requireApart(
        _ chain: ImageChain, _ source: Disk
    ) throws(StorageError) {
        guard let own = source.devices.first,
            chain.devices.contains(where: { $0.isSame(as: own.path) })
        else { return }
        throw .image(
            ImageProblem(
                .refused, chain.top.path, "it stands on the source \(source.path) itself",
                remedy: "Name another target, or another backing file."))
    }

    /// Makes an image on a disk, over what is there. Its header comes last: whatever ends this
    /// before leaves nothing that is taken for an image.
    ///
    /// - Returns: what may be missing of space, in sentences.
    private static func makeImage(
        _ options: NewImageOptions, on device: StorageDevice
    ) throws(StorageError) -> [String] {
        let warnings = try requireRoom(for: options, on: device)
        _ = try options.create(in: DeviceFile(device))
        return warnings
    }

    /// Runs every guard that making a qcow2 image on the disk at `path` would, and writes nothing.
    ///
    /// - Returns: what may be missing of space, in sentences.
    public static func rehearseImage(
        on path: FilePath, for source: Disk, newImage: NewImageOptions, options: TargetOptions
    ) throws(StorageError) -> [String] {
        var newImage = newImage
        newImage.size = wholeSectors(source.geometry.size)
        let device = try StorageDevice.openTarget(
            path, apartFrom: source.devices, size: newImage.size, options: options,
            content: .format)
        guard device.kind == .disk else {
            device.removeIfCreated()
            throw .refused(.alreadyExistsForCreate(target: path))
        }
        return try requireRoom(for: newImage, on: device)
    }

    /// Finds out, without making anything, whether a new qcow2 image at `path` would be refused:
    /// for its options, or because what it stands on can't be opened.
    public static func checkNewImage(
        at path: FilePath, for source: Disk, newImage: NewImageOptions, options: TargetOptions
    ) throws(StorageError) {
        try checkBacking(of: newImage, path, options)
        var newImage = newImage
        newImage.size = wholeSectors(source.geometry.size)
        try newImage.validate(for: path)
        guard let name = newImage.backingFile else { return }
        let below = path.removingLastComponent().pushing(FilePath(name))
        if source.devices.contains(where: { $0.access == .readWrite && $0.isSame(as: below) }) {
            throw .image(
                ImageProblem(
                    .refused, path,
                    "its backing file \(below) is open for writing by this very command",
                    remedy: "Name another backing file."))
        }
        do throws(StorageError) {
            _ = try openSource(
                below, format: newImage.backingFormat.flatMap { ImageFormat(rawValue: $0) },
                options: SourceOptions(cache: options.cache))
        } catch .notFound {
            throw .image(
                ImageProblem(
                    .missing, path, "its backing file \(below) is not there",
                    remedy: "Put it there, or name another one."))
        }
    }

    private static func checkBacking(
        of newImage: NewImageOptions?, _ path: FilePath, _ options: TargetOptions
    ) throws(StorageError) {
        guard let name = newImage?.backingFile else { return }
        guard !options.namedFileOnly else {
            throw .image(
                ImageProblem(
                    .unsupported, path,
                    "a new image can't stand on another file where none but itself may be opened",
                    remedy: "Make it without a backing file, or \(.openReferred)."))
        }
        guard
            path.removingLastComponent().pushing(FilePath(name)).lexicallyNormalized()
                == path.lexicallyNormalized()
        else { return }
        throw .image(
            ImageProblem(
                .unsupported, path, "a new image can't stand on itself",
                remedy: "Name another backing file."))
    }

    private static func requireRoom(
        for options: NewImageOptions, on device: StorageDevice
    ) throws(StorageError) -> [String] {
        try options.validate(for: device.path)
        let (least, most) = (options.emptyBytesMax, options.fullBytesMax)
        let size = device.geometry.size
        guard size >= least else {
            throw .image(
                ImageProblem(
                    .full, device.path,
                    "it has \(size) bytes, and the image takes up to \(least) before anything is "
                        + "written to its disk",
                    remedy: "Use a larger disk, or larger clusters."))
        }
        guard size < most else { return [] }
        return [
            "\(device.path) has \(size) bytes, and the image takes up to \(most) once all of its "
                + "disk has been written"
        ]
    }

    private static func requireImage(on device: StorageDevice) throws(StorageError) {
        guard !Header.isPresent(in: try DeviceFile(device).read(at: 0, count: 4)) else { return }
        throw .image(
            ImageProblem(
                .missing, device.path, "there is no qcow2 image on it",
                remedy: "\(.create), over what is there."))
    }

    static func wholeSectors(_ size: Int64) -> Int64 { (size + 511) & ~511 }

    /// What the guards look at where a target is raw.
    private static func check(
        _ image: WritableImage, size: Int64, _ options: TargetOptions
    ) throws(StorageError) {
        let path = image.chain.top.path
        let own = image.chain.size
        if own < size {
            throw .refused(.targetTooSmall(target: path, targetSize: own, sourceSize: size))
        }
        if own > wholeSectors(size) && !options.allowLarger {
            throw .refused(.targetLarger(target: path, targetSize: own, sourceSize: size))
        }
        guard !options.create, !options.overwrite, !options.holdsMirror,
            try image.chain.top.hasContent()
        else { return }
        throw .image(
            ImageProblem(
                .refused, path, "the image has something in it, which a mirror would overwrite",
                remedy: "\(.overwrite) if it may be."))
    }

    /// What all layers above `base` have themselves, or the first one if there is none.
    ///
    /// - Throws: `.invalidOption` for a raw disk, which has no layers.
    package func topBits(above base: FilePath?) throws(MirrorError) -> DirtyBitmap {
        guard let chain = image else {
            throw .invalidOption("\(path) is a raw disk and has no layers: use `full`")
        }
        do throws(StorageError) {
            let above = 0..<(try chain.indexOfBase(base) ?? 1)
            return try chain.allocated(in: above, granularity: chain.granularity(of: above))
        } catch {
            throw .storage(error)
        }
    }
}

extension ImageFormat? {
    /// The format, or what name and content of a file say together.
    fileprivate func or(
        guessing path: FilePath, as role: DiskRole
    ) throws(StorageError) -> ImageFormat {
        if let self { return self }
        return try .guess(at: path, as: role)
    }
}

/// What to do about a file that is a container of a format unknown here.
public enum ForeignFormatChoice: Sendable {
    /// Open nothing: its bytes are not those of the disk in it.
    case refuse
    /// Take it as the bytes that it has, and note it.
    case note
}

extension ImageProblem {
    fileprivate init(_ foreign: ForeignFormat, _ path: FilePath, as role: DiskRole) {
        self.init(
            .refused, path,
            "it is \(foreign.name), and its bytes are not those of the disk in it",
            remedy:
                "Make a raw disk of it first (`\(foreign.conversion)`), or "
                + "\(.format(role, is: "raw")) to take the file as it is.")
    }
}
