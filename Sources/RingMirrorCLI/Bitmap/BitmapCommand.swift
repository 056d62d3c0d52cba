import ArgumentParser
import RingMirror

struct BitmapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitmap",
        abstract: "Keep named bitmaps of what has changed on a disk or image.",
        discussion: """
            A bitmap remembers which blocks (64 KiB by default) have changed since the last \
            mirror, so that `incremental` copies only those. It is marked by what writes the disk, \
            by `mark`, by `import` from another tool, or by `diff`.

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

    @Option(
        help: ArgumentHelp(
            "What the image is (default: by its name and content).", valueName: "format"))
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
                path.path, format: imageFormat, role: .bitmapOwner,
                changesBitmaps: access == .readWrite && store.file == nil,
                options: SourceOptions(
                    allowSourceInUse: true, namedFileOnly: files.noBacking))
        }
    }

    /// Where the bitmap of a name is.
    func home(of name: String, _ disk: Disk, _ access: Access) throws -> BitmapHome {
        announce(access, disk)
        return try attempt { () throws(MirrorError) in try store.home(of: name, disk, access) }
    }

    /// Where the bitmap of a name is, or is made if there is none.
    func home(of name: String, orNewOf disk: Disk) throws -> BitmapHome {
        announce(.readWrite, disk)
        let home = try attempt { () throws(MirrorError) in
            try store.homeIfAny(of: name, disk, .readWrite)
        }
        return try home ?? homeOfNew(disk)
    }

    /// Where all bitmaps of a disk or image are, for a look or to be removed; nil if it has none.
    func homeOfAll(_ disk: Disk, _ access: Access = .readOnly) throws -> BitmapHome? {
        announce(access, disk)
        return try attempt { () throws(MirrorError) in try store.home(of: disk, access) }
    }

    /// Where a new bitmap of a disk or image is made. A store is made if there is none.
    func homeOfNew(_ disk: Disk) throws -> BitmapHome {
        announce(.readWrite, disk)
        return try attempt { () throws(MirrorError) in
            if let home = try store.home(of: disk, .readWrite) { return home }
            do throws(BitmapStoreError) {
                return .store(
                    try BitmapStore.openOrCreate(store.path(for: disk), for: disk.identity),
                    of: disk)
            } catch {
                throw .store(error)
            }
        }
    }

    private func announce(_ access: Access, _ disk: Disk) {
        guard access == .readWrite else { return }
        Signals.enter(.making("changing the bitmaps of \(disk.path)"))
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

    /// Says that interrupted jobs were given up with their bitmap, and what targets it knows no
    /// longer because something else has cleared it.
    func tellForgotten(_ jobs: [StoredJob], _ targets: [StoredTarget] = []) {
        for target in targets {
            output.warn(
                .targetForgotten,
                "something else has cleared the bitmap, or made it anew: what \(target.path) "
                    + "lacked is no longer known")
        }
        for job in jobs {
            output.warn(
                .jobForgotten,
                "the interrupted \(job.mode.rawValue) mirror to \(job.targetPath) can't be "
                    + "resumed any more")
        }
    }
}
