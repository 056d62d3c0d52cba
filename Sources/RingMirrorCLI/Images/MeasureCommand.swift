import ArgumentParser
import RingMirror

struct MeasureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Show how much a mirror would copy, and the space that a new target needs.",
        usage: "ringmirror measure <source> [<options>]",
        discussion: """
            Nothing is written, and only the tables of images are read. Sizes are bytes.

            Zeros that are stored as data count as data: they are seen only when they are read. \
            What a new target's file takes is of a mirror that nothing interrupts, and without \
            what its filesystem needs to keep it.

            Examples:
              ringmirror measure vm.qcow2
              ringmirror measure vm.qcow2 --mode top
              ringmirror measure vm.qcow2 --mode incremental --bitmap nightly \\
                --target-format qcow2
            """)

    @Argument(help: "The disk or image that would be read.", completion: .file())
    var source: PathArgument

    @Option(help: ArgumentHelp("Which mirror.", valueName: "mode")) var mode = JobMode.full

    @Option(help: ArgumentHelp("The bitmap of an incremental mirror.", valueName: "name"))
    var bitmap: String?

    @Option(
        help: ArgumentHelp(
            "The target of an incremental mirror (default: that which lacks most).",
            valueName: "path"),
        completion: .file())
    var target: PathArgument?

    @Option(
        help: ArgumentHelp(
            "The image above which top copies (default: the first alone).", valueName: "image"),
        completion: .file())
    var base: PathArgument?

    @Option(help: ArgumentHelp("What the target would be.", valueName: "format"))
    var targetFormat = ImageFormat.raw

    @Option(help: TargetFormatOptions.clusterSizeHelp) var clusterSize: ByteSize?

    @Flag(help: "The qcow2 target would allocate in 1/32 of a cluster.") var extendedL2 = false

    @Option(
        help: ArgumentHelp(
            "The qcow2 target would have all its tables from the beginning.", valueName: "what"))
    var preallocate: TargetFormatOptions.Preallocation?

    @Option(help: TuningOptions.zeroesHelp) var zeroes = ZeroHandling.detect

    @OptionGroup var store: StoreOptions
    @OptionGroup var format: SourceFormatOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        let rules = MeasureRules(
            mode: mode, hasBitmap: bitmap != nil, hasTarget: target != nil, hasBase: base != nil,
            isAsked: clusterSize != nil || extendedL2 || preallocate != nil,
            isQCOW2: targetFormat == .qcow2)
        try rules.refusal.refuse()
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
        case .full: return try Measurement.full(of: disk, target: target, zeroes: zeroes)
        case .top:
            return try Measurement.top(
                of: disk, base: base?.path, target: target, zeroes: zeroes)
        case .incremental:
            return try incremental(disk, bitmap ?? "", target)
        }
    }

    /// To the target that lacks most, unless one is named: what a mirror to any of them takes, at
    /// most.
    private func incremental(
        _ disk: Disk, _ name: String, _ image: NewImageOptions?
    ) throws(MirrorError) -> Measurement {
        let home = try store.home(of: name, disk, .readOnly)
        var targets = try home.bitmap(name).targets
        if let target {
            targets = targets.filter { $0.path == target.path || Files.lead($0.path, target.path) }
            guard !targets.isEmpty else {
                throw .invalidOption(
                    "bitmap '\(name)' does not know \(target). `ringmirror bitmap list` shows its "
                        + "targets.")
            }
        }
        guard let most = targets.max(by: { $0.lackedBytes < $1.lackedBytes }) else {
            return try .incremental(
                of: disk, dirty: try home.load(name), target: image, zeroes: zeroes)
        }
        return try .incremental(
            of: disk, dirty: try home.load(name, for: most), target: image, zeroes: zeroes)
    }

    private func show(_ measurement: Measurement) {
        for (name, bytes, what) in [
            ("disk", measurement.size, "size of the disk"),
            ("planned", measurement.planned, "to examine"),
            ("data", measurement.dataBytes, "to be read and written"),
            ("zeros", measurement.zeroBytes, "to be made zero without reading"),
            ("required", measurement.required, "that a new target's file takes, at most"),
            (
                "fully allocated", measurement.fullyAllocated,
                "that it takes once all of its disk was written, at most"
            ),
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
