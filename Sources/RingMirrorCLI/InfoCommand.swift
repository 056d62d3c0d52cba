import ArgumentParser
import RingMirror

struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Describe a disk or image: size, blocks, identity, and what is in it.",
        usage: "ringmirror info <path> [<options>]",
        discussion: """
            Of a qcow2 image the whole chain of backing files is shown, with what each image \
            holds, and the bitmaps inside. Nothing is written, and a disk in use may be asked \
            about too.

            Examples:
              ringmirror info /dev/nvme0n1
              ringmirror info vm.qcow2 --json
            """)

    @Argument(help: "A disk or image.", completion: .file())
    var path: PathArgument

    @Option(
        help: ArgumentHelp("What it is (default: by its name and content).", valueName: "format"))
    var format: ImageFormat?

    @OptionGroup var files: NamedFileOptions

    @OptionGroup var output: OutputOptions

    func run() throws {
        let complaint = Complaint(output: output)
        let disk = try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                path.path, format: format, role: .only, foreignFormats: .note,
                options: SourceOptions(
                    allowSourceInUse: true, namedFileOnly: files.noBacking))
        }
        let device = disk.device
        let allocation: Allocation
        do throws(StorageError) {
            allocation = try device.allocation()
        } catch {
            throw complaint.end(error)
        }
        let image = try disk.image.map { chain in
            try complaint.attempt { () throws(StorageError) in try ImageInfo(chain, disk) }
        }
        let notes = disk.warnings + disk.notes + (image?.notes ?? [])
        if output.json {
            Events.print(Events.Info(device, allocation, image, notes: notes))
        } else {
            show(device, allocation, image, notes: notes)
        }
    }

    private func show(
        _ device: StorageDevice, _ allocation: Allocation, _ image: ImageInfo?, notes: [String]
    ) {
        let geometry = device.geometry
        var rows: [(String, String)] = [
            ("path", device.path.string),
            ("kind", device.kind == .disk ? "disk" : "image file"),
            ("size", "\(geometry.size) bytes (\(ByteSize.text(geometry.size)))"),
            (
                "blocks",
                "\(geometry.logicalBlockSize) logical, \(geometry.physicalBlockSize) physical"
            ),
            ("access", device.caching.summary),
        ]
        if device.kind == .image {
            rows.append(
                (
                    "data",
                    "\(ByteSize.text(allocation.dataBytes)) in \(allocation.extents) "
                        + (allocation.extents == 1 ? "extent, " : "extents, ")
                        + "\(ByteSize.text(geometry.size - allocation.dataBytes)) in holes"
                ))
        } else {
            rows.append(("zeroing", zeroing(device)))
        }
        if let size = geometry.maxTransfer {
            rows.append(("largest request", ByteSize.text(Int64(size))))
        }
        if let depth = geometry.queueDepth { rows.append(("queue", "\(depth) requests")) }
        if let spins = geometry.isRotational { rows.append(("rotational", spins ? "yes" : "no")) }
        let identity = device.identity
        for (name, value) in [
            ("file system", identity.filesystem), ("model", identity.model),
            ("serial", identity.serial), ("wwn", identity.wwn), ("uuid", identity.uuid),
        ] {
            if let value { rows.append((name, value)) }
        }
        if let image { rows += image.rows }
        let width = rows.map(\.0.count).max() ?? 0
        for (name, value) in rows {
            Output.line(name + String(repeating: " ", count: width - name.count) + "  " + value)
        }
        for note in notes { Output.line("note: " + note) }
    }

    private func zeroing(_ device: StorageDevice) -> String {
        let bytes = device.zeroing.writeZeroesMaxBytes
        return bytes > 0
            ? "by command, up to \(ByteSize.text(bytes)) at once" : "by writing zeros"
    }
}

extension Events {
    struct Info: Encodable {
        let event = "info"
        let path, kind: String
        let size: Int64
        let logicalBlockSize, physicalBlockSize: Int
        let cache: String
        let dataBytes: Int64
        let extents: Int
        let maxTransfer, queueDepth: Int?
        let rotational: Bool?
        let writeZeroesMaxBytes, discardMaxBytes: Int64
        let identity: DeviceIdentity
        let notes: [String]
        /// Of a qcow2 image.
        let image: ImageInfo?

        init(
            _ device: StorageDevice, _ allocation: Allocation, _ image: ImageInfo?, notes: [String]
        ) {
            path = device.path.string
            kind = device.kind.rawValue
            size = device.geometry.size
            logicalBlockSize = device.geometry.logicalBlockSize
            physicalBlockSize = device.geometry.physicalBlockSize
            cache = device.caching.summary
            dataBytes = allocation.dataBytes
            extents = allocation.extents
            maxTransfer = device.geometry.maxTransfer
            queueDepth = device.geometry.queueDepth
            rotational = device.geometry.isRotational
            writeZeroesMaxBytes = device.zeroing.writeZeroesMaxBytes
            discardMaxBytes = device.zeroing.discardMaxBytes
            identity = device.identity
            self.notes = notes
            self.image = image
        }
    }
}
