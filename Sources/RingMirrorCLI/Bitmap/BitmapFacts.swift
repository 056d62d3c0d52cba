import RingMirror

/// What is known of a bitmap, wherever it is kept.
struct BitmapFacts {
    let name: String
    let size: Int64
    let granularity: Granularity
    let state: BitmapState
    /// Who works with it.
    var holder: JobHolder?
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
        dirtyCount = bitmap.dirtyCount
        dirtyBytes = bitmap.dirtyBytes
    }
}
