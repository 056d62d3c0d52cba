/// What tracks a disk in the kernel, and owes its marks to a bitmap: it lives as long as the
/// machine runs, and as long as nothing ends it.
public struct StoredTracker: Hashable, Sendable {
    /// The tracker's own number, 16 random bytes.
    public let id: [UInt8]
    /// The kernel's number of this run of the machine: no tracker outlives it.
    public let bootID: String

    /// - Precondition: `id` has 16 bytes.
    public init(id: [UInt8], bootID: String) {
        precondition(id.count == Self.count, "a tracker's number has \(Self.count) bytes")
        self.id = id
        self.bootID = bootID
    }

    private static let count = 16

    var bytes: [UInt8] { id + Array(bootID.utf8) }

    /// Nil if it can't be one.
    init?(bytes: [UInt8]) {
        guard bytes.count > Self.count,
            let bootID = String(validating: bytes.dropFirst(Self.count), as: UTF8.self)
        else { return nil }
        id = Array(bytes.prefix(Self.count))
        self.bootID = bootID
    }
}

extension StoreFile {
    /// Whether a recorder has what it owes to its bitmap. A tracker may have been ended by other
    /// means: what takes its marks finds that out.
    func isAlive(_ recorder: RecorderEntry) throws(BitmapStoreError) -> Bool {
        guard let tracker = recorder.tracker else { return try isClaimed(job: recorder.id) }
        return tracker.bootID == bootID
    }
}
