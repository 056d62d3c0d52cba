import ArgumentParser
import RingMirror

struct BitmapDiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compare A with B, and mark in a bitmap of A what differs.",
        usage: "ringmirror bitmap diff <first> <second> --into <name> [<options>]",
        discussion: """
            Both are read to the end. `ringmirror incremental A B --bitmap NAME` then makes B read \
            as A: this is how to begin where nothing has tracked the changes. The bitmap is added \
            if it is not there.

            Examples:
              ringmirror bitmap diff /dev/sda /dev/sdb --into nightly
              ringmirror incremental /dev/sda /dev/sdb --bitmap nightly
            """)

    @Argument(help: "The disk or image that the bitmap belongs to.", completion: .file())
    var first: PathArgument

    @Argument(help: "The disk or image that it is compared with.", completion: .file())
    var second: PathArgument

    @Option(help: ArgumentHelp("The bitmap that is marked.", valueName: "name")) var into: String

    @Option(
        help: ArgumentHelp(
            "Bytes that one bit of a new bitmap stands for (default: 64K).", valueName: "size"))
    var granularity: ByteSize?

    @Option(
        help: ArgumentHelp("What B is (default: by its name and content).", valueName: "format"))
    var secondFormat: ImageFormat?

    @Flag(help: "Take a B that is larger than A: only what A has is compared.")
    var allowLarger = false

    @OptionGroup var options: BitmapOptions

    func run() throws {
        let granularity = try self.granularity.map { try options.granularity($0) }
        let first = try options.disk(self.first, .readWrite)
        let second = try options.complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                self.second.path, format: secondFormat, role: .second,
                options: SourceOptions(
                    allowSourceInUse: true, namedFileOnly: options.files.noBacking))
        }
        guard first.identity.difference(from: second.identity) != nil else {
            throw options.complaint.end(
                .refused(.sourceIsTarget(source: first.path, target: second.path)))
        }
        let size = first.geometry.size
        guard
            second.geometry.size == size || (second.geometry.size > size && allowLarger)
        else {
            throw options.complaint.end(
                .sizesDiffer,
                "\(first.path) has \(size) bytes and \(second.path) \(second.geometry.size): only "
                    + "disks of the same size can be told apart by a bitmap"
                    + (second.geometry.size > size ? " (or use --allow-larger)" : ""),
                .usage)
        }
        // The bitmap is made when the answer is there: one that is clean because nobody has looked
        // yet would be taken for the answer.
        let clusters =
            try known(in: first) ?? granularity ?? Granularity(forSize: size, atLeast: .default)
        try options.check(clusters, for: size)
        var all = DirtyBitmap(size: size, granularity: clusters)
        all.setAll()
        let record = ComparisonRecord(of: first, with: second)
        let run = CompareRun(
            job: CompareJob(first, second, only: all, isPrefix: true, isByName: true), first: first,
            second: second, output: options.output, event: "compare", command: "bitmap diff")
        let report = run.compare()
        if let error = report.error ?? report.disturbance {
            let failure = Failure(error)
            throw options.complaint.end(
                failure.told("bitmap '\(into)' is as it was: \(failure.message)", failure.exit))
        }
        let found = run.job.differences()
        let home = try options.home(of: into, orNewOf: first)
            .withRecords(at: options.store.path(for: first))
        try options.attempt { () throws(MirrorError) in
            try home.put(found, into: into, granularity: clusters, record)
        }
        try options.tell(
            into, in: home, "marked with \(ByteSize.text(found.dirtyBytes)) that differ")
        if let reason = report.ringRefusal, !options.output.quiet && !options.output.json {
            Output.line(reason.threadsLine)
        }
    }

    /// The granularity of the bitmap; nil if there is no such bitmap yet.
    private func known(in disk: Disk) throws -> Granularity? {
        try options.attempt { () throws(MirrorError) in
            try options.store.homeIfAny(of: into, disk, .readOnly)?.bitmap(into).granularity
        }
    }
}
