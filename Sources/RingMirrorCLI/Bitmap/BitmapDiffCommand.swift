import ArgumentParser
import RingMirror

struct BitmapDiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Mark in a bitmap of A what differs in B.",
        discussion: """
            Both are read to the end. This is how incremental mirrors begin where nobody has \
            tracked the changes: `ringmirror incremental A B --bitmap NAME` then makes B read as \
            A. The bitmap is added if it is not there.
            """)

    @Argument(help: "The disk or image that the bitmap belongs to.", completion: .file())
    var first: String

    @Argument(help: "The disk or image that it is compared with.", completion: .file())
    var second: String

    @Option(help: "The bitmap that is marked.") var into: String

    @Option(help: "Bytes that one bit of a new bitmap stands for.")
    var granularity: ByteSize?

    @Option(help: "raw or qcow2: what B is (default: by its name and content).")
    var secondFormat: ImageFormat?

    @Flag(help: "Take a B that is larger than A: only what A has is compared.")
    var allowLarger = false

    @OptionGroup var options: BitmapOptions

    func run() async throws {
        let granularity = try self.granularity.map { try options.granularity($0) }
        let first = try options.disk(self.first, .readWrite)
        let second = try options.complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                FilePath(self.second), format: secondFormat, formatOption: "--second-format",
                options: SourceOptions(allowSourceInUse: true))
        }
        let size = first.geometry.size
        guard
            second.geometry.size == size || (second.geometry.size > size && allowLarger)
        else {
            throw options.complaint.end(
                "\(first.path) has \(size) bytes and \(second.path) \(second.geometry.size): only "
                    + "disks of the same size can be told apart by a bitmap"
                    + (second.geometry.size > size ? " (or use --allow-larger)" : ""),
                .usage)
        }
        let (home, clusters) = try prepare(first, granularity)
        var all = DirtyBitmap(size: size, granularity: clusters)
        all.setAll()
        let run = CompareRun(
            job: CompareJob(first, second, only: all, isPrefix: true), first: first,
            second: second, output: options.output, event: "compare")
        let report = await run.compare()
        if let error = report.error {
            throw options.complaint.end(
                "\(error); bitmap '\(into)' is as it was", Exit(error))
        }
        let found = run.job.differences()
        try options.attempt { () throws(MirrorError) in
            try home.merge(into: into, bits: found)
        }
        try options.tell(
            into, in: home, "marked with \(ByteSize.text(found.dirtyBytes)) that differ")
    }

    /// Where the bitmap is, with the bitmap there, and the granularity to compare with.
    private func prepare(
        _ disk: Disk, _ granularity: Granularity?
    ) throws -> (BitmapHome, Granularity) {
        let home = try options.home(of: disk, .readWrite, creates: true)
        return try options.attempt { () throws(MirrorError) in
            let known = try home.bitmaps().first { $0.name == into }?.granularity
            if known == nil {
                try home.add(into, granularity ?? .default, disabled: false)
            }
            return (home, known ?? granularity ?? .default)
        }
    }
}
