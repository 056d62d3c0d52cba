internal import CBPF

/// What the programs have counted of a disk, beside what the kernel itself has.
struct Books {
    /// Seen by the programs, before the kernel's count was read and after it.
    let before, after: ringmirror_tracker_counts
    /// Sectors written and discarded since the disk came; nil where the kernel does not tell.
    let kernel: UInt64?
    /// Nothing was in flight in between, so that both counted the same writes.
    let isExact: Bool

    init(_ disk: TrackedDisk, _ state: MappedState) {
        let folder = disk.folder
        before = state.sum()
        kernel = folder.sectorsWritten
        let isIdle = folder.writesInFlight == 0
        after = state.sum()
        isExact = isIdle && before.completed == after.completed && before.queued == after.queued
    }

    private func kernelBytes(_ info: ringmirror_tracker_info) -> Int64? {
        kernel.map { Int64(bitPattern: ($0 &- info.kernel_sectors_at_start) &* 512) }
    }

    /// What the kernel has counted and the programs have neither seen complete, nor can be waiting
    /// for, nor has been made good; nil where the kernel does not tell.
    func unseenBytes(_ info: ringmirror_tracker_info) -> Int64? {
        let seen = Int64(bitPattern: after.counted &- info.completed_at_start)
        return kernelBytes(info).map { $0 - seen - info.missingBytes(after) - info.forgiven }
    }

    /// What the programs have seen complete and the kernel has not counted.
    func uncountedBytes(_ info: ringmirror_tracker_info) -> Int64 {
        let seen = Int64(bitPattern: before.counted &- info.completed_at_start)
        // What was not seen to complete may wait in a scheduler, and be in no count of the kernel.
        let missing = min(info.missingBytes(before), 0)
        return kernelBytes(info).map { seen + missing + info.forgiven - $0 } ?? 0
    }
}

extension ringmirror_tracker_counts {
    /// Completed bytes that the driver had, which the kernel counts too.
    var counted: UInt64 { completed &- refused }
}
