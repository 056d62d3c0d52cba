internal import Synchronization

/// What the workers of a job have done, counted in bytes, read at any time by whoever shows
/// progress.
///
/// Each counter only says how much; none orders anything, so relaxed is enough.
final class JobCounters: Sendable {
    let read = Atomic<Int64>(0)
    let written = Atomic<Int64>(0)
    /// Made to read as zeros, without writing zeros.
    let zeroed = Atomic<Int64>(0)
    /// Zeros that the target was known to have already.
    let skipped = Atomic<Int64>(0)
    /// Bytes of the disk that are to be copied. What arrives while a job runs makes it more.
    let planned = Atomic<Int64>(0)
    /// Bytes of the disk whose runs are complete, however that was done.
    let done = Atomic<Int64>(0)
}

extension Atomic where Value == Int64 {
    borrowing func count(_ bytes: Int64) { add(bytes, ordering: .relaxed) }
    var value: Int64 { borrowing get { load(ordering: .relaxed) } }
}
