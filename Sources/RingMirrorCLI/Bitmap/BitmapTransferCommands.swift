import ArgumentParser
import RingMirror

// Bitmaps out to other tools, and in from them.

struct BitmapExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a bitmap as a change map.",
        usage: "ringmirror bitmap export <path> <name> [<file>] [<options>]",
        discussion: """
            The formats are described in docs/change-maps.md. A disk, an image or a file of \
            bitmaps is never written over, nor anything else that is no text.

            Examples:
              ringmirror bitmap export vm.img nightly changes.txt
              ringmirror bitmap export vm.img nightly - --format ranges
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @Argument(help: "The name of the bitmap.") var name: String
    @Argument(help: "A new file; - is standard output.", completion: .file()) var file =
        PathArgument.standardStream

    @Option(help: ArgumentHelp("How it is written.", valueName: "format"))
    var format = WrittenFormat.ringmirror

    @Flag(help: "Write over a file that exists.") var overwrite = false
    @OptionGroup var options: BitmapOptions

    func run() throws {
        let disk = try options.disk(path)
        let home = try options.home(of: name, disk, .readOnly)
        let bits = try options.attempt { () throws(MirrorError) in try home.load(name) }
        let bytes: [UInt8]
        do throws(ChangeMapError) {
            bytes = try ChangeMap.write(bits, format: format.format, name: name)
        } catch {
            throw options.complaint.end(Failure(error))
        }
        // Standard output is where the map goes.
        if options.output.json && file.isStandardStream {
            throw options.complaint.end(
                Failure(
                    .commandLine, "--json needs a FILE for the map: standard output has the events",
                    .usage))
        }
        let targets = try options.attempt { () throws(MirrorError) in try home.targetPaths() }
        do throws(OutputFileError) {
            try OutputFile(path: file, apartFrom: disk.devices, home.path, targets)
                .write(bytes, overwrite: overwrite)
        } catch {
            throw options.complaint.end(Failure(error, file))
        }
        let bitmap = try options.attempt { () throws(MirrorError) in try home.bitmap(name) }
        warn(ofTargetsOf: bitmap)
        if options.output.json {
            Events.print(Events.Bitmap(bitmap, store: home.path.string))
        }
    }
}

extension BitmapExportCommand {
    /// Whoever mirrors by the map alone has to know of targets that it is not enough for.
    private func warn(ofTargetsOf bitmap: BitmapFacts) {
        for target in bitmap.targets where target.lackedBytes > bitmap.dirtyBytes {
            options.output.warn(
                .bitmaps,
                "\(target.path) lacks \(ByteSize.text(target.lackedBytes)), more than the map "
                    + "tells, which is what is marked in bitmap '\(name)': mirror to it by the "
                    + "bitmap")
        }
    }
}

struct BitmapImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Mark in a bitmap what another tool says has changed.",
        usage: "ringmirror bitmap import <path> <name> <map> [<options>]",
        discussion: """
            Without a format the content decides; the formats are described in \
            docs/change-maps.md. What was dirty stays dirty. If the map can't be read or \
            understood, the bitmap is as it was.

            Examples:
              ringmirror bitmap import vm.img nightly changes.xml
              thin_delta ... | ringmirror bitmap import /dev/vg/thin nightly -
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @Argument(help: "The name of the bitmap.") var name: String
    @Argument(help: "The change map, as FILE or FILE:FORMAT; - is standard input.")
    var map: MapArgument

    @Flag(help: "Add the bitmap if it does not exist.") var create = false

    @Option(
        help: ArgumentHelp(
            "Bytes that one bit of a new bitmap stands for (default: by the map).",
            valueName: "size"))
    var granularity: ByteSize?

    @OptionGroup(title: "Reading the map") var mapping: MapOptions
    @OptionGroup var options: BitmapOptions

    func validate() throws {
        if granularity != nil && !create {
            throw ValidationError("--granularity is for a new bitmap: it goes with --create")
        }
    }

    func run() throws {
        let disk = try options.disk(path, .readWrite)
        let granularity = try self.granularity.map { try options.granularity($0) }
        let found = try mapping.read(
            map, deviceSize: disk.geometry.size, options.output, options.complaint)
        let fresh =
            granularity
            ?? Granularity(forSize: disk.geometry.size, atLeast: found.granularity ?? .default)
        try options.check(fresh, for: disk.geometry.size)
        let home =
            create
            ? try options.home(of: name, orNewOf: disk)
            : try options.home(of: name, disk, .readWrite)
        try options.attempt { () throws(MirrorError) in
            let known = try home.bitmaps().first { $0.name == name }
            let clusters = known?.granularity ?? fresh
            var bits = DirtyBitmap(size: disk.geometry.size, granularity: clusters)
            found.mark(in: &bits)
            try home.put(bits, into: name, granularity: clusters)
        }
        try options.tell(name, in: home, "marked with \(ByteSize.text(found.dirtyBytes))")
    }
}

/// A format that a bitmap can be written in.
struct WrittenFormat: ExpressibleByArgument {
    static let ringmirror = WrittenFormat(format: .ringmirror)

    let format: ChangeMapFormat

    private init(format: ChangeMapFormat) { self.format = format }

    init?(argument: String) {
        guard let format = ChangeMapFormat(rawValue: argument),
            ChangeMap.writableFormats.contains(format)
        else { return nil }
        self.format = format
    }

    var defaultValueDescription: String { format.rawValue }
    static var allValueStrings: [String] { ChangeMap.writableFormats.map(\.rawValue) }
}
