internal import CBPF

/// The part of a tracker that is no mark, in this process's memory.
@safe final class MappedState: @unchecked Sendable {
    private let mapping: Mapping
    private let state: UnsafeMutableRawPointer
    private let shared: UnsafeMutablePointer<ringmirror_tracker_info>

    init(ofMap descriptor: CInt) throws(TrackingError) {
        mapping = try Mapping(descriptor, byteCount: ringmirror_tracker_state_size())
        unsafe state = mapping.start
        guard let info = unsafe ringmirror_tracker_info_of(state) else {
            preconditionFailure("a state has its first member")
        }
        unsafe shared = info
    }

    /// What was written when the tracker started, and what its one user writes.
    var info: ringmirror_tracker_info {
        unsafe shared.pointee
    }

    /// Changes what the kernel's programs don't write. One thread at a time.
    func update(_ change: (inout ringmirror_tracker_info) -> Void) {
        unsafe change(&shared.pointee)
    }

    func sum() -> ringmirror_tracker_counts {
        var sum = ringmirror_tracker_counts()
        unsafe ringmirror_tracker_sum(state, &sum)
        return sum
    }

    /// Counts how often a read of these bytes is seen, while `body` runs.
    func probe(
        sector: UInt64, bytes: UInt32, _ body: () -> Void
    ) -> (queued: UInt64, completed: UInt64) {
        unsafe ringmirror_tracker_probe(state, sector, bytes)
        body()
        var (queued, completed) = (UInt64(0), UInt64(0))
        unsafe ringmirror_tracker_probed(state, &queued, &completed)
        unsafe ringmirror_tracker_probe(state, 0, 0)
        return (queued, completed)
    }
}
