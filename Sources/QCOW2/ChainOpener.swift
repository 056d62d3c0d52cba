internal import BlockStorage
internal import SystemPackage

/// Opens the layers of a chain, from the top down.
struct ChainOpener {
    let options: ChainOptions
    private(set) var layers: [Layer] = []
    private var seen: [FileKey] = []

    /// Chains of some dozen are seen. Each layer takes up to three descriptors, of which a process
    /// mostly has 1024.
    static let depthMax = 200

    init(options: ChainOptions) { self.options = options }

    mutating func open(_ top: StorageDevice) throws(StorageError) {
        var next: (device: StorageDevice, format: ImageFormat)? = (top, options.format)
        while let (device, format) = next {
            guard layers.count < Self.depthMax else {
                throw .image(
                    ImageProblem(
                        .unsupported, top.path,
                        "there are more than \(Self.depthMax) images below each other",
                        remedy: "Merge some of them with `qemu-img commit`."))
            }
            try note(device, for: device.path)
            let layer = try layer(device, format)
            layers.append(layer)
            next = nil
            if options.opensBacking, let below = try layer.backing() {
                next = (try open(below.path, for: layer.path, "backing file"), below.format)
            }
        }
    }

    private mutating func layer(
        _ device: StorageDevice, _ format: ImageFormat
    ) throws(StorageError) -> Layer {
        let file = DeviceFile(device)
        guard format == .qcow2 else { return try Layer(raw: file, device: device) }
        let header = try Header.read(from: file)
        guard header.incompatible.contains(.dataFile) else {
            return try Layer(header, file: file, device: device)
        }
        guard let name = header.dataFile, !name.isEmpty else {
            throw .image(
                ImageProblem(
                    .malformed, device.path,
                    "its data is in a file of its own, and it does not say in which",
                    remedy: "`qemu-img amend -o data_file=FILE` tells it."))
        }
        let referred = ReferredFile(name: name, what: "data file", image: device.path)
        let data = try open(
            referred.path(resolvedImage: FilePath(device.resolvedPath)), for: device.path,
            "data file")
        try note(data, for: device.path)
        return try Layer(
            header, file: file, device: device, dataFile: DeviceFile(data), dataDevice: data)
    }

    private func open(
        _ path: FilePath, for image: FilePath, _ what: String
    ) throws(StorageError) -> StorageDevice {
        do throws(StorageError) {
            return try StorageDevice.openSource(path, options: options.source)
        } catch .notFound {
            throw .image(
                ImageProblem(
                    .missing, image, "its \(what) \(path) is not there",
                    remedy: "Put it there, or `qemu-img rebase -u` tells the image where it is."))
        }
    }

    /// A file that is there twice is below itself, by whatever names.
    private mutating func note(
        _ device: StorageDevice, for image: FilePath
    ) throws(StorageError) {
        let key = FileKey(device.identity)
        guard !seen.contains(key) else {
            throw .image(
                ImageProblem(
                    .malformed, image, "\(device.path) is in the chain of images twice"))
        }
        seen.append(key)
    }
}

/// Which file or disk it is, whatever its names.
private struct FileKey: Equatable {
    let disk: DeviceNumber?
    let filesystem: DeviceNumber?
    let inode: UInt64?

    init(_ identity: DeviceIdentity) {
        disk = identity.deviceNumber
        filesystem = identity.filesystemDevice
        inode = identity.inode
    }
}
