import RingMirror

/// What is known of a bitmap, wherever it is kept.
struct BitmapFacts {
    let name: String
    let size: Int64
    let granularity: Granularity
    let state: BitmapState
    /// Who works with it.
    var holder: JobHolder?
    /// What marks for it in the kernel, and has marks that it is to get yet.
    var tracker: StoredTracker?
    /// It is kept inside an image, and not in a store.
    let isInImage: Bool
    /// A job on it can be resumed.
    var isInterrupted = false
    let dirtyCount: Int
    let dirtyBytes: Int64
    /// Seconds since 1970; nobody writes it down in an image.
    var createdAt: Int64?
    /// The newest mirror last.
    var targets: [StoredTarget] = []

    var lastSuccess: LastSuccess? { targets.last { $0.lastSuccess != nil }?.lastSuccess }

    var isBusy: Bool { holder != nil }

    init(_ bitmap: StoredBitmap) {
        name = bitmap.name
        size = bitmap.size
        granularity = bitmap.granularity
        state = bitmap.state
        holder = bitmap.holder
        tracker = bitmap.tracker
        isInImage = false
        isInterrupted = bitmap.isInterrupted
        dirtyCount = bitmap.dirtyCount
        dirtyBytes = bitmap.dirtyBytes
        createdAt = bitmap.createdAt
        targets = bitmap.targets
    }

    init(_ bitmap: ImageBitmap) {
        name = bitmap.name
        size = bitmap.size
        granularity = bitmap.granularity
        state =
            bitmap.isInconsistent ? .inconsistent : bitmap.isRecording ? .recording : .disabled
        isInImage = true
        dirtyCount = bitmap.dirtyCount
        dirtyBytes = bitmap.dirtyBytes
    }
}
