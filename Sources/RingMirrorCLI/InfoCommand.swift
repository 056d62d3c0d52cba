import ArgumentParser
import RingMirror

struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Say what a disk or image is, how it can be read, and what is on it.",
        discussion: "Nothing is written, and a disk in use may be asked about too.")

    @Argument(help: "A disk or image.", completion: .file())
    var path: String

    @OptionGroup(title: "Output") var output: OutputOptions

    func run() throws {
        let complaint = Complaint(output: output)
        let device = try complaint.attempt { () throws(StorageError) in
            try StorageDevice.openSource(
                FilePath(path), options: SourceOptions(allowSourceInUse: true))
        }
        let allocation: Allocation
        do throws(StorageError) {
            allocation = try device.allocation()
        } catch {
            throw complaint.end(error)
        }
        if output.json {
            Events.print(Events.Info(device, allocation))
        } else {
            show(device, allocation)
        }
    }

    private func show(_ device: StorageDevice, _ allocation: Allocation) {
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
                    "\(ByteSize.text(allocation.dataBytes)) in \(allocation.extents) extents, "
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
        let width = rows.map(\.0.count).max() ?? 0
        for (name, value) in rows {
            Output.line(name + String(repeating: " ", count: width - name.count) + "  " + value)
        }
        for note in device.notes { Output.line("note: " + note) }
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

        init(_ device: StorageDevice, _ allocation: Allocation) {
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
            notes = device.notes
        }
    }
}
