internal import DirtyBitmap
internal import Synchronization

extension BitmapStore {
    /// Begins to record into a bitmap in memory, for a program through which all writes go.
    ///
    /// When this returns, the file says so durably: if the process dies before `close`, the bitmap
    /// is inconsistent from then on, because nobody knows what it had seen. Jobs may work on the
    /// bitmap meanwhile.
    ///
    /// - Throws: `noSuchBitmap`, `disabled`, `inconsistent`; `busy` if somebody records already.
    public func record(_ name: String) throws(BitmapStoreError) -> RecordingSession {
        try transact { transaction throws(BitmapStoreError) -> RecordingSession in
            let index = try transaction.index(of: name)
            try transaction.recover(bitmapAt: index)
            try transaction.requireConsistent(index)
            let bitmap = transaction.catalog.bitmaps[index]
            guard bitmap.state == .recording else { throw .disabled(name: name) }
            for recorder in transaction.catalog.recorders where recorder.bitmap == bitmap.id {
                throw .busy(name: name, holder: recorder.holder)
            }
            try transaction.requireRoomForRecord()
            let id = transaction.catalog.takeID()
            guard let claim = try file.claim(job: id) else {
                throw .busy(name: name, holder: holder)
            }
            transaction.catalog.recorders.append(
                RecorderEntry(id: id, bitmap: bitmap.id, holder: holder))
            let geometry = bitmap.bits.layout.geometry
            return RecordingSession(
                store: self, id: id, claim: claim,
                bits: DirtyBitmap(size: geometry.size, granularity: geometry.granularity))
        }
    }
}

/// Marks of one bitmap that are kept in memory until `close`.
///
/// Any thread may call its methods.
public final class RecordingSession: Sendable {
    private let store: BitmapStore
    private let id: UInt64
    private let state: Mutex<State>

    private struct State: ~Copyable, Sendable {
        /// Nil once it is closed.
        var claim: (any JobClaim)?
        var bits: DirtyBitmap
    }

    init(store: BitmapStore, id: UInt64, claim: any JobClaim, bits: consuming DirtyBitmap) {
        self.store = store
        self.id = id
        state = Mutex(State(claim: claim, bits: bits))
    }

    /// Marks a range dirty in memory.
    ///
    /// - Parameter range: bytes within the disk; anything else stops the program, as does a
    ///   session that was closed.
    /// - Complexity: O(words in the range); no system call.
    public func set(_ range: Range<Int64>) {
        state.withLock { state in
            precondition(state.claim != nil, "the recording session was closed")
            state.bits.set(range)
        }
    }

    /// Writes the marks into the bitmap, durably, and ends the session.
    ///
    /// If it throws, the session goes on; call it again. Calling it again after it has returned
    /// does nothing.
    public func close() throws(BitmapStoreError) {
        try state.withLock { state throws(BitmapStoreError) -> Void in
            guard state.claim != nil else { return }
            try store.transact { transaction throws(BitmapStoreError) in
                guard let recorder = transaction.catalog.recorders.first(where: { $0.id == id }),
                    let index = transaction.catalog.bitmaps.firstIndex(where: {
                        $0.id == recorder.bitmap
                    })
                else { throw .noSuchJob(id: id, path: store.path) }
                try transaction.merge(state.bits, bitmapAt: index)
                transaction.catalog.recorders.removeAll { $0.id == id }
            }
            state.claim = nil
        }
    }
}
