internal import BlockStorage
internal import SystemPackage

/// Opens the layers of a chain, from the top down.
struct ChainOpener {
    let options: ChainOptions
    private(set) var layers: [Layer] = []
    /// Every file of the chain, and what stands on it.
    private var seen: [StorageDevice]
    private let held: [StorageDevice]

    /// Chains of some dozen are seen. Each layer takes up to three descriptors, of which a process
    /// mostly has 1024.
    static let depthMax = 200

    init(options: ChainOptions, above: [StorageDevice] = [], held: [StorageDevice] = []) {
        self.options = options
        seen = above
        self.held = held.filter { $0.access == .readWrite }
    }

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
            seen.append(device)
            let layer = try layer(device, format)
            layers.append(layer)
            next = nil
            if options.namedFileOnly, let name = layer.header?.backingFile {
                throw Self.unnamed(name, for: layer.path, "backing file")
            }
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
        // Its tables are read through the page cache, which keeps those that a failed flush has
        // lost. What has it open writes them by itself.
        if !device.hidesWrites { device.readAnew(isTable: true) }
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
        guard !options.namedFileOnly else {
            throw Self.unnamed(name, for: device.path, "data file")
        }
        let referred = ReferredFile(name: name, what: "data file", image: device.path)
        let data = try open(
            referred.path(resolvedImage: FilePath(device.resolvedPath)), for: device.path,
            "data file")
        seen.append(data)
        return try Layer(
            header, file: file, device: device, dataFile: DeviceFile(data), dataDevice: data)
    }

    private func open(
        _ path: FilePath, for image: FilePath, _ what: String
    ) throws(StorageError) -> StorageDevice {
        // Opened a second time, a file would seem to be locked by somebody else.
        try refuseRepetition(of: path, for: image, what)
        do throws(StorageError) {
            let device = try StorageDevice.openSource(path, options: options.source)
            try refuseRepetition(of: device.path, for: image, what)
            return device
        } catch .notFound {
            throw .image(
                ImageProblem(
                    .missing, image, "its \(what) \(path) is not there",
                    remedy: "Put it there, or `qemu-img rebase -u` tells the image where it is."))
        }
    }

    /// A file that is there twice is below itself, by whatever names.
    private func refuseRepetition(
        of path: FilePath, for image: FilePath, _ what: String
    ) throws(StorageError) {
        if seen.contains(where: { $0.isSame(as: path) }) {
            throw .image(
                ImageProblem(
                    .malformed, image, "\(path) is in the chain of images twice",
                    remedy: "`qemu-img rebase -u` tells the image what it stands on."))
        }
        if held.contains(where: { $0.isSame(as: path) }) {
            throw .image(
                ImageProblem(
                    .refused, image,
                    "its \(what) \(path) is open for writing by this very command",
                    remedy: "One command can't change an image and read it as another's \(what)."))
        }
    }

    private static func unnamed(
        _ name: String, for image: FilePath, _ what: String
    ) -> StorageError {
        let shown = BitmapEntry.shown(Array(name.utf8))
        return .image(
            ImageProblem(
                .refused, image,
                "it needs the \(what) \"\(shown)\", and no file may be opened but the image itself",
                remedy: "\(.openReferred) if you trust whoever made the image."))
    }
}
