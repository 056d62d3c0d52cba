import ArgumentParser
import RingMirror

// The commands that change one bitmap and are done at once.

struct BitmapAddCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Add a bitmap in which nothing is dirty.",
        usage: "ringmirror bitmap add <path> <name> [<options>]",
        discussion: """
            From then on it has to be marked by what writes the disk; mirror in full with it first.

            Examples:
              ringmirror bitmap add vm.img nightly
              ringmirror bitmap add /dev/sda nightly --granularity 1M
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @Argument(help: "The name of the new bitmap, 1 to 1023 bytes.") var name: String

    @Option(
        help: ArgumentHelp(
            "Bytes that one bit stands for, a power of two from 512 to 2G.", valueName: "size"))
    var granularity = ByteSize(bytes: Granularity.default.bytes)

    @Flag(help: "Add it frozen: marks are refused until it is enabled.") var disabled = false
    @OptionGroup var options: BitmapOptions

    func run() throws {
        let granularity = try options.granularity(granularity)
        let home = try options.homeOfNew(options.disk(path, .readWrite))
        try options.attempt { () throws(MirrorError) in
            try home.add(name, granularity, disabled: disabled)
        }
        try options.tell(name, in: home, "added, \(granularity) a bit")
    }
}

extension BitmapOptions {
    func granularity(_ size: ByteSize) throws -> Granularity { try complaint.granularity(size) }

    /// Ends the command if a disk is too large for a bitmap of this granularity.
    func check(_ granularity: Granularity, for size: Int64) throws {
        do throws(DirtyBitmapError) {
            _ = try DirtyBitmap.byteCount(size: size, granularity: granularity)
        } catch {
            throw complaint.end(.invalidGranularity, "\(error)", .usage)
        }
    }
}

struct BitmapRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Remove a bitmap.",
        usage: "ringmirror bitmap remove <path> (<name> | --jobs | --all) [<options>]",
        discussion: """
            Its interrupted jobs can't be resumed then.

            With --jobs and no name, only the records of interrupted jobs are removed, and all \
            bitmaps stay. With --all, all bitmaps inside a qcow2 image are removed, also where \
            they are so broken that QEMU does not open the image any more.

            Examples:
              ringmirror bitmap remove vm.img nightly
              ringmirror bitmap remove vm.img --jobs
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @Argument(help: "The name of the bitmap.") var name: String?
    @Flag(help: "Remove the records of all interrupted jobs of this disk or image instead.")
    var jobs = false
    @Flag(help: "Remove all bitmaps inside a qcow2 image.") var all = false
    @OptionGroup var options: BitmapOptions

    func validate() throws {
        let rules = RemovalRules(
            hasName: name != nil, jobs: jobs, all: all, hasStore: options.store.file != nil)
        try rules.refusal.refuse()
    }

    func run() throws {
        if jobs { return try forgetJobs() }
        let disk = try options.disk(path, .readWrite)
        guard let name else { return try removeAll(disk) }
        let home = try options.home(of: name, disk, .readWrite)
        let forgotten = try options.attempt { () throws(MirrorError) in try home.remove(name) }
        options.tellForgotten(forgotten)
        if options.output.json {
            Events.print(Events.Removed(bitmaps: [name], named: name, forgotten, home.path))
        } else if !options.output.quiet {
            Output.line("bitmap '\(name)' removed")
        }
    }

    private func forgetJobs() throws {
        let disk = try options.disk(path)
        let file = options.store.path(for: disk)
        let forgotten = try options.attempt { () throws(MirrorError) in
            do throws(BitmapStoreError) {
                let store = try BitmapStore.open(file, for: disk.identity, access: .readWrite)
                let forgotten = try store.forgetJobs { _ in true }
                try store.removeFileIfEmpty()
                return forgotten
            } catch {
                throw .store(error)
            }
        }
        options.tellForgotten(forgotten)
        if options.output.json {
            Events.print(Events.Removed(bitmaps: [], forgotten, file))
        } else if !options.output.quiet {
            Output.line(
                forgotten.isEmpty
                    ? "\(path) has no records of interrupted jobs"
                    : "\(forgotten.count) records of interrupted jobs removed")
        }
    }

    private func removeAll(_ disk: Disk) throws {
        guard let home = try options.homeOfAll(disk, .readWrite), case .image = home else {
            throw options.complaint.end(
                .invalidOption, "\(path) is no qcow2 image: --all is for the bitmaps inside one",
                .usage)
        }
        let names = try? home.bitmaps().map(\.name)
        let (notes, forgotten) = try options.attempt { () throws(MirrorError) in
            try home.removeAll()
        }
        for note in notes { options.output.note(.bitmaps, note) }
        options.tellForgotten(forgotten)
        if options.output.json {
            Events.print(Events.Removed(bitmaps: names, forgotten, home.path))
        } else if !options.output.quiet {
            Output.line("all bitmaps of \(path) removed")
        }
    }
}

struct BitmapClearCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clear",
        abstract: "Mark everything clean.",
        usage: "ringmirror bitmap clear <path> <name> [<options>]",
        discussion: """
            What was dirty stays recorded as what each known target lacks, so that none loses a \
            byte.

            Examples:
              ringmirror bitmap clear vm.img nightly
            """)

    @OptionGroup var one: OneBitmap

    func run() throws {
        let home = try one.open()
        let forgotten = try one.options.attempt { () throws(MirrorError) in
            try home.clear(one.name)
        }
        one.options.tellForgotten(forgotten.jobs, forgotten.targets)
        try one.options.tell(one.name, in: home, "cleared")
    }
}

struct BitmapEnableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable",
        abstract: "Let a bitmap be marked again.",
        usage: "ringmirror bitmap enable <path> <name> [<options>]",
        discussion: """
            What was written while it was disabled is not in it: if anything shows that the disk \
            was written in that time, the next mirror to each known target copies everything.

            Examples:
              ringmirror bitmap enable vm.img nightly
            """)

    @OptionGroup var one: OneBitmap

    func run() throws { try one.setRecording(true) }
}

struct BitmapDisableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Freeze a bitmap: marks are refused.",
        usage: "ringmirror bitmap disable <path> <name> [<options>]",
        discussion: """
            What is written from then on is not in it: a mirror by it is refused once the disk was \
            written.

            Examples:
              ringmirror bitmap disable vm.img nightly
            """)

    @OptionGroup var one: OneBitmap

    func run() throws { try one.setRecording(false) }
}

extension OneBitmap {
    fileprivate func setRecording(_ isRecording: Bool) throws {
        let disk = try options.disk(path, .readWrite)
        let home = try options.home(of: name, disk, .readWrite)
        try options.attempt { () throws(MirrorError) in
            try home.setRecording(name, isRecording, of: disk)
        }
        try options.tell(name, in: home, isRecording ? "enabled" : "disabled")
    }
}

struct BitmapMergeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Mark in one bitmap what others have dirty.",
        usage: "ringmirror bitmap merge <path> <into> <from> ... [<options>]",
        discussion: """
            All of them or, if one can't be merged, none. Granularities may differ: what is dirty \
            is rounded outward.

            Examples:
              ringmirror bitmap merge vm.img week monday tuesday
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @Argument(help: "The bitmap that is marked.") var into: String
    @Argument(help: "The bitmaps that stay as they are.") var from: [String]
    @OptionGroup var options: BitmapOptions

    func run() throws {
        let disk = try options.disk(path, .readWrite)
        let home = try options.home(of: into, disk, .readWrite)
        try options.attempt { () throws(MirrorError) in
            for name in from { _ = try options.store.reference(to: name, of: disk) }
            try home.merge(into: into, from: from)
        }
        try options.tell(into, in: home, "merged")
    }
}

struct BitmapMarkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mark",
        abstract: "Mark ranges of bytes dirty.",
        usage: "ringmirror bitmap mark <path> <name> <ranges> ... [<options>]",
        discussion: """
            A range is OFFSET+LENGTH or START-END, such as 1M+64K or 10G-11G; END itself is not in \
            it.

            Ranges are rounded outward to the bitmap's granularity. A bitmap can be marked also \
            while a job works on it: what is marked then stays dirty after the job.

            Examples:
              ringmirror bitmap mark vm.img nightly 1M+64K 10G-11G
            """)

    @OptionGroup var one: OneBitmap
    @Argument(help: "Ranges of bytes.") var ranges: [ByteRange]

    func run() throws {
        let home = try one.open()
        try one.options.attempt { () throws(MirrorError) in
            try home.mark(one.name, ranges.map(\.bytes))
        }
        try one.options.tell(one.name, in: home, "marked")
    }
}
