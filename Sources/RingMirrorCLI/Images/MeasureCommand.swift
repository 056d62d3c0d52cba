import ArgumentParser
import RingMirror

struct MeasureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Say how much a mirror would move, and what a new target would need.",
        discussion: """
            Only the tables of images are read. Zeros that are stored as data count as data: they \
            are seen only when they are read.

            Examples:
              ringmirror measure vm.qcow2
              ringmirror measure vm.qcow2 --mode top
              ringmirror measure vm.qcow2 --mode incremental --bitmap nightly --target-format qcow2
            """)

    @Argument(help: "The disk or image that would be read.", completion: .file())
    var source: PathArgument

    @Option(help: "full, top or incremental.") var mode = Mode.full
    @Option(help: "The bitmap of an incremental mirror.") var bitmap: String?
    @Option(help: "The image above which top copies.", completion: .file()) var base: PathArgument?
    @Option(help: "raw or qcow2: what the target would be.") var targetFormat = ImageFormat.raw
    @Option(help: "Bytes in a cluster of a qcow2 target.") var clusterSize: ByteSize?

    @Flag(help: "The qcow2 target would allocate 1/32 of a cluster.") var extendedL2 = false

    @Option(help: "metadata: the qcow2 target would have all its tables from the beginning.")
    var preallocate: TargetFormatOptions.Preallocation?
    @OptionGroup(title: "Formats") var format: SourceFormatOptions
    @OptionGroup var store: StoreOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    enum Mode: String, ExpressibleByArgument, CaseIterable { case full, top, incremental }

    func validate() throws {
        if (bitmap != nil) != (mode == .incremental) {
            throw ValidationError("--bitmap NAME goes with --mode incremental, which needs one")
        }
        if base != nil && mode != .top {
            throw ValidationError("--base IMAGE goes with --mode top")
        }
        let isAsked = clusterSize != nil || extendedL2 || preallocate != nil
        if isAsked && targetFormat != .qcow2 {
            throw ValidationError(
                "--cluster-size, --extended-l2 and --preallocate go with --target-format qcow2")
        }
    }

    func run() throws {
        let complaint = Complaint(output: output)
        let disk = try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                source.path, format: format.sourceFormat ?? (mode == .top ? .qcow2 : nil),
                options: SourceOptions(
                    allowSourceInUse: true, namedFileOnly: format.files.noBacking))
        }
        let measurement: Measurement
        do throws(MirrorError) {
            measurement = try measure(disk)
        } catch {
            throw complaint.end(error)
        }
        if output.json {
            Events.print(Events.Measurement(measurement, mode: mode.rawValue, disk))
        } else {
            show(measurement)
        }
    }

    private func measure(_ disk: Disk) throws(MirrorError) -> Measurement {
        var target: NewImageOptions?
        if targetFormat == .qcow2 {
            target = NewImageOptions(size: disk.geometry.size)
            if let clusterSize { target?.clusterSize = clusterSize.bytes }
            target?.extendedL2 = extendedL2
            target?.preallocatesMetadata = preallocate == .metadata
        }
        switch mode {
        case .full: return try Measurement.full(of: disk, target: target)
        case .top:
            return try Measurement.top(
                of: disk, base: base?.path, target: target)
        case .incremental:
            return try Measurement.incremental(
                of: disk, dirty: try store.bits(bitmap ?? "", of: disk), target: target)
        }
    }

    private func show(_ measurement: Measurement) {
        for (name, bytes, what) in [
            ("disk", measurement.size, "bytes that the mirror shows"),
            ("planned", measurement.planned, "looked at"),
            ("data", measurement.dataBytes, "read and written"),
            ("zeros", measurement.zeroBytes, "made zero without reading"),
            ("required", measurement.required, "of a new target's file, at most"),
            ("fully allocated", measurement.fullyAllocated, "at most, once all is written"),
        ] {
            let pad = String(repeating: " ", count: 17 - name.count)
            Output.line("\(name)\(pad)\(bytes) (\(ByteSize.text(bytes)))  \(what)")
        }
    }
}

extension Events {
    struct Measurement: Encodable {
        let event = "measure"
        let mode, source, sourceFormat: String
        let size, planned, dataBytes, zeroBytes, required, fullyAllocated: Int64

        init(_ measurement: RingMirror.Measurement, mode: String, _ disk: Disk) {
            self.mode = mode
            source = disk.path.string
            sourceFormat = disk.format
            size = measurement.size
            planned = measurement.planned
            dataBytes = measurement.dataBytes
            zeroBytes = measurement.zeroBytes
            required = measurement.required
            fullyAllocated = measurement.fullyAllocated
        }
    }
}
