import ArgumentParser
import RingMirror

struct BitmapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitmap",
        abstract: "Keep named bitmaps of what has changed on a disk or image.",
        discussion: """
            Bitmaps live in one small file for each disk or image: IMAGE.bitmaps beside an image, \
            a file named after the disk in the state directory, or where --bitmaps says.

            Examples:
              ringmirror bitmap add vm.img nightly
              ringmirror bitmap mark vm.img nightly 1M+64K 10G-11G
              ringmirror bitmap import vm.img nightly changes.xml
              ringmirror bitmap diff /dev/sda /dev/sdb --into nightly
              ringmirror bitmap show vm.img nightly
            """,
        subcommands: [
            BitmapAddCommand.self, BitmapRemoveCommand.self, BitmapClearCommand.self,
            BitmapEnableCommand.self, BitmapDisableCommand.self, BitmapMergeCommand.self,
            BitmapListCommand.self, BitmapShowCommand.self, BitmapDiffCommand.self,
            BitmapMarkCommand.self, BitmapExportCommand.self, BitmapImportCommand.self,
        ])
}

/// A bitmap that is there, as most commands name it.
struct OneBitmap: ParsableArguments {
    @Argument(help: "The disk or image.", completion: .file()) var path: String
    @Argument(help: "The name of the bitmap.") var name: String
    @OptionGroup var options: BitmapOptions

    func open(_ access: Access = .readWrite) throws -> BitmapStore {
        try options.open(options.device(path), access)
    }
}

/// What every command on bitmaps takes.
struct BitmapOptions: ParsableArguments {
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    var complaint: Complaint { Complaint(output: output) }

    /// Opens the disk or image, to know which it is and how large. Reading harms nothing, and a
    /// disk in use has bitmaps too.
    func device(_ path: String) throws -> StorageDevice {
        try complaint.attempt { () throws(StorageError) in
            try StorageDevice.openSource(
                FilePath(path), options: SourceOptions(allowSourceInUse: true))
        }
    }

    /// Runs something on the store of a device, and ends the command with the error if it fails.
    func storing<Result: ~Copyable>(
        _ body: () throws(BitmapStoreError) -> Result
    ) throws(ExitCode) -> Result {
        do throws(BitmapStoreError) { return try body() } catch { throw complaint.end(error) }
    }

    /// The store of a device, for a command that changes what is in it.
    func open(_ device: StorageDevice, _ access: Access = .readWrite) throws -> BitmapStore {
        try storing { () throws(BitmapStoreError) in
            try BitmapStore.open(store.path(for: device), for: device.identity, access: access)
        }
    }

    /// Says what has become of a bitmap.
    func tell(_ name: String, in store: BitmapStore, _ what: String) throws {
        let bitmap = try storing { () throws(BitmapStoreError) in try store.bitmap(name) }
        if output.json {
            Events.print(Events.Bitmap(bitmap, store: store.path.string))
        } else if !output.quiet {
            Output.line("bitmap '\(name)' \(what): \(BitmapText.dirty(bitmap))")
        }
    }

    /// Says that interrupted jobs were given up with their bitmap.
    func tellForgotten(_ jobs: [StoredJob]) {
        guard !output.quiet else { return }
        for job in jobs {
            Output.errorLine(
                "ringmirror: the interrupted \(job.mode.rawValue) mirror to \(job.targetPath) "
                    + "can't be resumed any more")
        }
    }
}
