import ArgumentParser
import RingMirror

struct BitmapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitmap",
        abstract: "Keep named bitmaps of what has changed on a disk or image.",
        discussion: """
            Bitmaps live in one small file for each disk or image: IMAGE.bitmaps beside an image, \
            a file named after the disk in the state directory, or where --bitmaps says. Those of \
            a qcow2 image are the ones that QEMU keeps inside it, unless --bitmaps names a file.

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
            BitmapForgetCommand.self,
        ])
}

/// A bitmap that is there, as most commands name it.
struct OneBitmap: ParsableArguments {
    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @Argument(help: "The name of the bitmap.") var name: String
    @OptionGroup var options: BitmapOptions

    func open(_ access: Access = .readWrite) throws -> BitmapHome {
        try options.home(of: name, options.disk(path, access), access)
    }
}

/// What every command on bitmaps takes.
struct BitmapOptions: ParsableArguments {
    @OptionGroup var store: StoreOptions

    @Option(help: "raw or qcow2: what the image is (default: by its name and content).")
    var imageFormat: ImageFormat?

    @OptionGroup var files: NamedFileOptions

    @OptionGroup var output: OutputOptions

    var complaint: Complaint { Complaint(output: output) }

    /// Opens the disk or image, to know which it is and how large. Reading harms nothing, and a
    /// disk in use has bitmaps too; only a qcow2 image whose own bitmaps are changed has to be
    /// nobody else's.
    func disk(_ path: PathArgument, _ access: Access = .readOnly) throws -> Disk {
        try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                path.path, format: imageFormat, formatOption: "--image-format",
                changesBitmaps: access == .readWrite && store.file == nil,
                options: SourceOptions(
                    allowSourceInUse: true, namedFileOnly: files.noBacking))
        }
    }

    /// Where the bitmaps of a disk or image are.
    ///
    /// - Parameter creates: make a store if there is none.
    func home(
        _ path: PathArgument, _ access: Access = .readWrite, creates: Bool = false
    ) throws -> BitmapHome {
        try home(of: disk(path, access), access, creates: creates)
    }

    /// Nil if there is no store yet.
    func homeIfAny(of disk: Disk, _ access: Access) throws -> BitmapHome? {
        if store.file == nil, let bitmaps = disk.bitmaps {
            return try complaint.perform { () throws(MirrorError) in
                try store.imageHome(bitmaps, disk, access)
            }
        }
        do throws(BitmapStoreError) {
            return .store(
                try BitmapStore.open(store.path(for: disk), for: disk.identity, access: access))
        } catch .notFound {
            return nil
        } catch {
            throw complaint.end(error)
        }
    }

    /// Where the bitmap of a name is.
    func home(of name: String, _ disk: Disk, _ access: Access) throws -> BitmapHome {
        if access == .readWrite {
            Signals.enter(.making("changing the bitmaps of \(disk.path)"))
        }
        return try complaint.perform { () throws(MirrorError) in
            try store.home(of: name, disk, access)
        }
    }

    /// Where a new bitmap of a disk or image is made, if nothing else is said.
    func home(of disk: Disk, _ access: Access, creates: Bool = false) throws -> BitmapHome {
        if access == .readWrite {
            Signals.enter(.making("changing the bitmaps of \(disk.path)"))
        }
        if store.file == nil, let bitmaps = disk.bitmaps {
            return try complaint.perform { () throws(MirrorError) in
                try store.imageHome(bitmaps, disk, access)
            }
        }
        let path = store.path(for: disk)
        return try attempt { () throws(MirrorError) in
            do throws(BitmapStoreError) {
                return .store(
                    creates
                        ? try BitmapStore.openOrCreate(path, for: disk.identity)
                        : try BitmapStore.open(path, for: disk.identity, access: access))
            } catch {
                throw .store(error)
            }
        }
    }

    /// Runs something on bitmaps, and ends the command with the error if it fails.
    func attempt<Result: ~Copyable>(
        _ body: () throws(MirrorError) -> Result
    ) throws(ExitCode) -> Result {
        try complaint.perform(body)
    }

    /// Says what has become of a bitmap.
    func tell(_ name: String, in home: BitmapHome, _ what: String) throws {
        let bitmap = try attempt { () throws(MirrorError) in try home.bitmap(name) }
        if output.json {
            Events.print(Events.Bitmap(bitmap, store: home.path.string))
        } else if !output.quiet {
            Output.line("bitmap '\(name)' \(what): \(BitmapText.dirty(bitmap))")
        }
    }

    /// Says that interrupted jobs were given up with their bitmap.
    func tellForgotten(_ jobs: [StoredJob]) {
        for job in jobs {
            output.warn(
                .jobForgotten,
                "the interrupted \(job.mode.rawValue) mirror to \(job.targetPath) can't be "
                    + "resumed any more")
        }
    }
}
