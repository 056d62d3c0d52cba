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
            next = options.opensBacking ? try backing(of: layer, device) : nil
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
        let data = try open(referred, device)
        try note(data, for: device.path)
        return try Layer(
            header, file: file, device: device, dataFile: DeviceFile(data), dataDevice: data)
    }

    private func backing(
        of layer: Layer, _ device: StorageDevice
    ) throws(StorageError) -> (StorageDevice, ImageFormat)? {
        guard let header = layer.header, let name = header.backingFile else { return nil }
        guard let text = header.backingFormat else {
            // Looking at the file would let whoever writes that disk choose its format.
            throw .image(
                ImageProblem(
                    .refused, layer.path,
                    "it does not say which format its backing file \"\(name)\" has",
                    remedy: "If it is raw, say so with `qemu-img rebase -u -b '\(name)' -F raw "
                        + "'\(layer.path)'`; if it is qcow2, with -F qcow2."))
        }
        guard let format = ImageFormat(rawValue: text) else {
            throw .image(
                ImageProblem(
                    .unsupported, layer.path,
                    "its backing file \"\(name)\" is of the format \"\(text)\"",
                    remedy: "raw and qcow2 can be read."))
        }
        let referred = ReferredFile(name: name, what: "backing file", image: layer.path)
        return (try open(referred, device), format)
    }

    private func open(
        _ file: ReferredFile, _ image: StorageDevice
    ) throws(StorageError) -> StorageDevice {
        let path = try file.path(resolvedImage: FilePath(image.resolvedPath))
        return try StorageDevice.openSource(path, options: options.source)
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
