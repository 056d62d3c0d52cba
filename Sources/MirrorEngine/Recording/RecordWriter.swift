internal import BitmapStore
internal import DirtyBitmap
internal import Ring
internal import Synchronization

/// Keeps the record of a job in its store while the job runs.
///
/// Checkpoints come perhaps on a worker's thread, which must not wait for the store's disk: the
/// latest one is left here, and a thread that lives as long as there is something to write takes
/// it. A store that can't be written costs the job its resuming and nothing else, and is said once.
final class RecordWriter: Sendable {
    /// Makes the record when there is first something to record, so that short jobs leave no trace.
    typealias Begin = @Sendable () throws(BitmapStoreError) -> StoreJob

    private struct State: ~Copyable {
        var record: StoreJob?
        /// The newest checkpoint that is not written yet.
        var latest: DirtyBitmap?
        var thread: WorkerThread?
        var isWriting = false
        var failure: BitmapStoreError?
    }

    private let begin: Begin?
    private let log: JobLog
    private let state: Mutex<State>

    /// - Parameters:
    ///   - record: the record, if it was made before the job.
    ///   - begin: nil: without a record from before, none is made.
    init(_ record: StoreJob?, log: JobLog, begin: Begin?) {
        self.begin = begin
        self.log = log
        state = Mutex(State(record: record))
    }

    /// Takes a checkpoint; the one before it is dropped if it was not written yet.
    func keep(_ remaining: borrowing DirtyBitmap) {
        guard begin != nil || state.withLock({ $0.record != nil }) else { return }
        var copy: DirtyBitmap? = remaining.copy()
        let isAlone = state.withLock { state in
            state.latest = copy.take()
            guard !state.isWriting else { return false }
            // The thread before has said that it is over, so that this does not wait.
            state.thread?.join()
            state.thread = WorkerThread { [self] in write() }
            state.isWriting = true
            return state.thread == nil
        }
        // Without a thread the worker's has to do, and the copy waits for the store's disk.
        if isAlone { write() }
    }

    private func write() {
        while let remaining = next() {
            do throws(BitmapStoreError) {
                try record()?.checkpoint(remaining)
                state.withLock { $0.failure = nil }
            } catch {
                let isFirst = state.withLock { state in
                    defer { state.failure = error }
                    return state.failure == nil
                }
                if isFirst { log.checkpointFailed(error) }
            }
        }
    }

    private func next() -> DirtyBitmap? {
        state.withLock { state in
            if state.latest == nil { state.isWriting = false }
            return state.latest.take()
        }
    }

    private func record() throws(BitmapStoreError) -> StoreJob? {
        if let record = state.withLock({ $0.record }) { return record }
        guard let record = try begin?() else { return nil }
        state.withLock { $0.record = record }
        return record
    }

    /// Waits for what is being written, and gives the record up for its end; nil if none was made
    /// and `isNeeded` doesn't ask for one.
    func close(isNeeded: Bool) throws(BitmapStoreError) -> StoreJob? {
        state.withLock { $0.thread.take() }?.join()
        if isNeeded { _ = try record() }
        return state.withLock { $0.record.take() }
    }
}
