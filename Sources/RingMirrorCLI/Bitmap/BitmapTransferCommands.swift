public import ArgumentParser
public import RingMirror

// Bitmaps out to other tools, and in from them.

struct BitmapExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a bitmap as a change map.",
        discussion: "The formats are in docs/change-maps.md.")

    @Argument(help: "The disk or image.", completion: .file()) var path: String
    @Argument(help: "The name of the bitmap.") var name: String
    @Argument(help: "A new file; - is standard output.", completion: .file()) var file = "-"

    @Option(help: "ringmirror (text that a person can read), ddrescue, qemu-dirty or ranges.")
    var format = ChangeMapFormat.ringmirror

    @Flag(help: "Write over a file that is there.") var overwrite = false
    @OptionGroup var options: BitmapOptions

    func validate() throws {
        if !ChangeMap.writableFormats.contains(format) {
            let names = ChangeMap.writableFormats.map(\.rawValue)
            throw ValidationError(
                "a bitmap can't be written as \(format.rawValue): use "
                    + names.joined(separator: ", "))
        }
    }

    func run() throws {
        let store = try options.open(options.device(path), .readOnly)
        let bits = try options.storing { () throws(BitmapStoreError) in try store.load(name) }
        let bytes: [UInt8]
        do throws(ChangeMapError) {
            bytes = try ChangeMap.write(bits, format: format, name: name)
        } catch {
            throw options.complaint.end("\(error)", .usage)
        }
        do throws(Errno) {
            try Files.write(bytes, to: file, overwrite: overwrite)
        } catch .fileExists {
            throw options.complaint.end(
                "\(file) exists already: choose another name, or use --overwrite", .refused)
        } catch .brokenPipe {
            return
        } catch {
            throw options.complaint.end("\(file): it can't be written: \(error)", .failed)
        }
    }
}

struct BitmapImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Mark in a bitmap what another tool says has changed.",
        discussion: """
            The formats are in docs/change-maps.md; without one the content decides. What was \
            dirty stays dirty. If the map can't be read or understood, the bitmap is as it was.
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: String
    @Argument(help: "The name of the bitmap.") var name: String
    @Argument(help: "The change map, as FILE or FILE:FORMAT; - is standard input.")
    var map: MapArgument

    @Flag(help: "Add the bitmap if it is not there.") var create = false

    @Option(help: "Bytes that one bit of a new bitmap stands for.") var granularity: ByteSize?

    @OptionGroup(title: "Reading the map") var mapping: MapOptions
    @OptionGroup var options: BitmapOptions

    func validate() throws {
        if granularity != nil && !create {
            throw ValidationError("--granularity is for a new bitmap: it goes with --create")
        }
    }

    func run() throws {
        let device = try options.device(path)
        let granularity = try self.granularity.map { try options.granularity($0) }
        let found = try mapping.read(
            map, deviceSize: device.geometry.size, options.output, options.complaint)
        let store = try options.storing { () throws(BitmapStoreError) in
            let path = options.store.path(for: device)
            let store =
                create
                ? try BitmapStore.openOrCreate(path, for: device.identity)
                : try BitmapStore.open(path, for: device.identity, access: .readWrite)
            if create, try !store.bitmaps().contains(where: { $0.name == name }) {
                try store.add(
                    name, granularity: granularity ?? found.granularity ?? .default,
                    disabled: false)
            }
            var bits = DirtyBitmap(
                size: device.geometry.size, granularity: try store.bitmap(name).granularity)
            found.mark(in: &bits)
            try store.merge(into: name, bits: bits)
            return store
        }
        try options.tell(name, in: store, "marked with \(ByteSize.text(found.dirtyBytes))")
    }
}

extension ChangeMapFormat: ExpressibleByArgument {}
