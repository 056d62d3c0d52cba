internal import BlockStorage
internal import CBPF
public import DirtyBitmap
internal import Glibc
internal import Synchronization

/// The kernel marks what is written to one disk or partition, from when a tracker is started to its
/// end.
///
/// A write is marked when it is submitted and again when it has completed, before its writer is
/// told. Who takes the marks before reading, and again after it, misses nothing. A tracker with a
/// name is pinned: it needs no process, and ends with the machine's run or by `stop`; one without
/// ends with its handle.
public final class DiskTracker: Sendable {
    /// Whether this build can track disks at all.
    public static var isBuiltIn: Bool { ringmirror_bpf_is_built_in() != 0 }

    /// Bytes that one mark stands for.
    public let granularity: Granularity
    /// Bytes of the disk or partition that is tracked.
    public let size: Int64
    /// Tells the tracker from all others that there ever are.
    public let id: TrackerID

    let disk: TrackedDisk
    let files: TrackerFiles
    let state: MappedState
    let marks: MarkWords
    let folder: PinFolder?
    private let hasHeld: Mutex<Bool>

    /// Its name; nil: it ends with this handle.
    public var name: String? { folder?.name }

    init(
        _ disk: TrackedDisk, _ files: TrackerFiles, _ state: MappedState, _ folder: PinFolder?
    ) throws(TrackingError) {
        self.disk = disk
        self.files = files
        self.state = state
        self.folder = folder
        let info = state.info
        let bytes = Int64(512) << Int64(info.plan.granule_shift)
        guard let granularity = try? Granularity(bytes: bytes),
            let id = TrackerID(bytes: info.idBytes)
        else { throw .incomplete(folder?.name ?? "", lacks: "a granularity") }
        self.granularity = granularity
        self.id = id
        size = Int64(info.plan.sector_count) * 512
        marks = try MarkWords(files, granules: Int((size + bytes - 1) / bytes))
        hasHeld = Mutex(folder != nil)
    }

    // MARK: Marks

    /// Moves the marks to `bits`: dirty there is what was dirty there or marked here. They stay in
    /// the kernel until `release`, so that a process that dies meanwhile loses none; the first call
    /// of a handle gives those as well that an earlier one left so. One thread at a time.
    ///
    /// - Precondition: `bits` is of the size of the tracker, and of no finer granularity.
    /// - Returns: whether there were any.
    /// - Complexity: O(words). Nothing is allocated, and no system call made.
    package func take(into bits: inout DirtyBitmap) -> Bool {
        let shift = shift(to: bits)
        var found = hasHeld.withLock { hasHeld in
            defer { hasHeld = false }
            return hasHeld ? marks.addHeld(to: &bits, shift: shift) : false
        }
        if marks.take(into: &bits, shift: shift) { found = true }
        return found
    }

    /// Adds the marks to `bits` as `take` does, and leaves them all in the kernel.
    package func read(into bits: inout DirtyBitmap) { marks.add(to: &bits, shift: shift(to: bits)) }

    /// How many times larger, as a power of two, the granules of a bitmap are.
    private func shift(to bits: borrowing DirtyBitmap) -> Int {
        precondition(bits.size == size, "a bitmap of another disk")
        precondition(bits.granularity >= granularity, "a bitmap that is finer than the marks")
        return bits.granularity.bytes.trailingZeroBitCount - granularity.bytes.trailingZeroBitCount
    }

    /// All that was taken until now is durable elsewhere. Nothing is done before the first `take`:
    /// what an earlier handle has left is not known to the caller yet.
    package func release() {
        hasHeld.withLock { hasHeld in
            guard !hasHeld else { return }
            // In this order: a number without a release gives marks twice, and is none too many.
            state.update { $0.last_release = $0.last_merge }
            marks.release()
        }
    }

    /// Before what was taken is made durable.
    ///
    /// - Returns: the number of this merge, which who makes it durable keeps with it. It is not
    ///   used again, also if the process dies before `release`.
    package func beginMerge() -> UInt64 {
        state.update { $0.last_merge += 1 }
        return state.info.last_merge
    }

    /// The number of the last merge that was tried, and of the last one after which the marks were
    /// released: who knows only of an older one is an old copy, and lacks what was released.
    package var merges: (last: UInt64, released: UInt64) {
        (state.info.last_merge, state.info.last_release)
    }

    /// Bytes that are marked now, in whole granules.
    public func dirtyBytes() -> Int64 { min(Int64(marks.count()) * granularity.bytes, size) }

    /// Whether nothing is marked.
    package var isClean: Bool { marks.isClean }

    // MARK: Writes

    /// Bytes that have been submitted to the whole disk and have not completed, as far as is known.
    public var inFlightBytes: Int64 {
        state.info.inFlightBytes(state.sum())
    }

    /// Whether the disk was at rest once since tracking started: only then it is exact what is in
    /// flight, and each completion is missed of which the kernel does not tell.
    package var hasBeenAtRest: Bool { state.info.is_floor_known != 0 }

    /// Bytes that were written to the whole disk since tracking started.
    public var writtenBytes: Int64 { Int64(clamping: state.sum().completed) }
}

extension ringmirror_tracker_counts {
    /// Submitted less completed bytes.
    var balance: Int64 { Int64(bitPattern: queued &- completed) }
}

extension ringmirror_tracker_info {
    /// Bytes that have been submitted and were not seen to complete; below 0 if some were counted
    /// twice.
    func missingBytes(_ sum: ringmirror_tracker_counts) -> Int64 {
        is_floor_known != 0 ? sum.balance - floor : max(sum.balance, 0)
    }

    /// Bytes that have been submitted and not completed, as far as is known.
    func inFlightBytes(_ sum: ringmirror_tracker_counts) -> Int64 { max(missingBytes(sum), 0) }

    var idBytes: [UInt8] {
        unsafe withUnsafeBytes(of: id) { unsafe Array($0) }
    }

    var programIDs: [UInt32] {
        unsafe withUnsafeBytes(of: program_ids) { unsafe Array($0.bindMemory(to: UInt32.self)) }
    }

    var programTags: [UInt64] {
        unsafe withUnsafeBytes(of: program_tags) { unsafe Array($0.bindMemory(to: UInt64.self)) }
    }

    /// - Precondition: there are as many as the tracker has.
    mutating func setPrograms(_ programs: [ringmirror_bpf_program]) {
        precondition(programs.count == Int(ringmirror_tracker_programs))
        let (ids, tags) = (programs.map(\.id), programs.map(\.tag))
        unsafe withUnsafeMutableBytes(of: &program_ids) { place in
            unsafe ids.withUnsafeBytes { unsafe place.copyMemory(from: $0) }
        }
        unsafe withUnsafeMutableBytes(of: &program_tags) { place in
            unsafe tags.withUnsafeBytes { unsafe place.copyMemory(from: $0) }
        }
    }

    mutating func setID(_ bytes: [UInt8]) {
        precondition(bytes.count == TrackerID.byteCount)
        unsafe withUnsafeMutableBytes(of: &id) { unsafe $0.copyBytes(from: bytes) }
    }
}

/// A tracker that has a name, as it was found.
public struct TrackerDescription: Sendable {
    /// Its name.
    public let name: String
    /// The node of the disk or partition that it tracks, such as `/dev/sda1`.
    public let path: String
    /// Bytes of that.
    public let size: Int64
    /// Bytes that one mark stands for; nil: that is not known.
    public let granularity: Granularity?
    /// Seconds since 1970; nil: that is not known.
    public let startedAt: Int64?
    /// Why it can't be used; nil: it can.
    public let problem: TrackingError?
}
