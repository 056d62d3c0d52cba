import RingMirror

extension Events {
    /// A bitmap, as it is now.
    struct Bitmap: Encodable {
        let event = "bitmap"
        let store, name: String
        let size, granularity: Int64
        let state: String
        let busy, interrupted: Bool
        let holder: String?
        let dirtyBytes: Int64
        let dirtyGranules: Int
        let createdAt: Int64?
        let lastMirror: LastMirror?
        let targets: [Target]
        var runs: Int?
        var largestRun: Int64?

        struct LastMirror: Encodable {
            let time: Int64
            let target, mode: String
            let bytes: Int64
        }

        /// A disk or image that the bitmap's jobs have written.
        struct Target: Encodable {
            let path: String
            /// Seconds since 1970; nil if it was never a mirror.
            let lastMirror: Int64?
            let lackedBytes: Int64
            /// Nil: nothing of it has to be taken on trust.
            let doubts: [Doubt]?
        }

        /// Something that was taken on trust.
        struct Doubt: Encodable {
            let code: String
            let time: Int64?
            let text: String
        }

        init(_ bitmap: BitmapFacts, store: String, runs: DirtyRuns? = nil) {
            self.store = store
            name = bitmap.name
            size = bitmap.size
            granularity = bitmap.granularity.bytes
            state = bitmap.state.rawValue
            busy = bitmap.isBusy
            interrupted = bitmap.isInterrupted
            holder = bitmap.holder.map { "\($0)" }
            dirtyBytes = bitmap.dirtyBytes
            dirtyGranules = bitmap.dirtyCount
            createdAt = bitmap.createdAt
            lastMirror = bitmap.lastSuccess.map {
                LastMirror(
                    time: $0.time, target: $0.targetPath, mode: $0.mode.rawValue,
                    bytes: $0.bytesCopied)
            }
            targets = bitmap.targets.map {
                Target(
                    path: $0.path.string, lastMirror: $0.lastSuccess?.time,
                    lackedBytes: $0.lackedBytes,
                    doubts: $0.doubts.isEmpty
                        ? nil
                        : $0.doubts.map {
                            Doubt(code: $0.kind.rawValue, time: $0.time, text: $0.text)
                        })
            }
            self.runs = runs?.count
            largestRun = runs?.largest
        }
    }

    struct Removed: Encodable {
        let event = "removed"
        /// The one that was named; nil if none was.
        let bitmap: String?
        /// Nil if broken bitmaps hide what there was.
        let bitmaps: [String]?
        /// How many records of interrupted jobs went.
        let jobs: Int
        let store: String

        init(bitmaps: [String]?, named: String? = nil, _ jobs: [StoredJob], _ store: FilePath) {
            bitmap = named
            self.bitmaps = bitmaps
            self.jobs = jobs.count
            self.store = store.string
        }
    }

    struct Forgotten: Encodable {
        let event = "forgotten"
        let bitmap, target, store: String
    }

    /// A job that runs or was interrupted.
    struct Job: Encodable {
        let event = "job"
        let store, mode, bitmapMode: String
        let bitmap: String?
        let source, target: String
        let startedAt: Int64
        let checkpointedAt: Int64?
        let planned, remaining: Int64
        let running: Bool
        let holder: String

        init(_ job: StoredJob, store: String) {
            self.store = store
            mode = job.mode.rawValue
            bitmapMode = job.bitmapMode.rawValue
            bitmap = job.bitmap?.name
            source = job.sourcePath.string
            target = job.targetPath.string
            startedAt = job.startedAt
            checkpointedAt = job.checkpointedAt
            planned = job.planned
            remaining = job.remainingBytes
            running = job.isRunning
            holder = "\(job.holder)"
        }
    }
}
