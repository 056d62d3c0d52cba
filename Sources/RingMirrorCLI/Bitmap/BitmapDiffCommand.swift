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

    @Flag(help: "Take a B that is larger than A: only what A has is compared.")
    var allowLarger = false

    @OptionGroup var options: BitmapOptions

    func run() async throws {
        let granularity = try self.granularity.map { try options.granularity($0) }
        let first = try options.device(self.first)
        let second = try options.device(self.second)
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
        let (store, clusters) = try prepare(first, granularity)
        var all = DirtyBitmap(size: size, granularity: clusters)
        all.setAll()
        let disks = (Disk(first), Disk(second))
        let run = CompareRun(
            job: CompareJob(disks.0, disks.1, only: all, isPrefix: true), first: disks.0,
            second: disks.1, output: options.output, event: "compare")
        let report = await run.compare()
        if let error = report.error {
            throw options.complaint.end(
                "\(error); bitmap '\(into)' is as it was", Exit(error))
        }
        let found = run.job.differences()
        try options.storing { () throws(BitmapStoreError) in
            try store.merge(into: into, bits: found)
        }
        try options.tell(
            into, in: store, "marked with \(ByteSize.text(found.dirtyBytes)) that differ")
    }

    /// The store, with the bitmap in it, and the granularity to compare with.
    private func prepare(
        _ device: StorageDevice, _ granularity: Granularity?
    ) throws -> (BitmapStore, Granularity) {
        try options.storing { () throws(BitmapStoreError) in
            let store = try BitmapStore.openOrCreate(
                options.store.path(for: device), for: device.identity)
            let known = try store.bitmaps().first { $0.name == into }?.granularity
            if known == nil {
                try store.add(into, granularity: granularity ?? .default, disabled: false)
            }
            return (store, known ?? granularity ?? .default)
        }
    }
}
