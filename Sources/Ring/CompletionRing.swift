internal import CLiburing

/// The end of one entry, as the kernel told it.
package struct RingCompletion: Sendable {
    /// What the entry was enqueued with.
    package let token: Token
    /// What the operation returns, or a negated errno.
    package let result: Int32
    /// IORING_CQE_F_*.
    package let flags: UInt32
    /// What a wide completion has more; 0 in others.
    package let extra: (UInt64, UInt64)
}

/// The shared completion queue, read in place.
///
/// Head and tail are 32-bit counters that run freely and wrap; only their difference and their low
/// bits mean anything, so all arithmetic on them wraps too. A ring at a million requests a second
/// passes 2^32 after 72 minutes.
@safe struct CompletionRing {
    private let head: UnsafeMutablePointer<UInt32>
    private let tail: UnsafeMutablePointer<UInt32>
    private let mask: UInt32
    private let entries: UnsafeMutablePointer<ringmirror_completion>
    /// Each entry has the room of two.
    private let isWide: Bool

    init(
        head: UnsafeMutablePointer<UInt32>, tail: UnsafeMutablePointer<UInt32>, mask: UInt32,
        entries: UnsafeMutablePointer<ringmirror_completion>, isWide: Bool = false
    ) {
        unsafe self.head = head
        unsafe self.tail = tail
        self.mask = mask
        unsafe self.entries = entries
        self.isWide = isWide
    }

    /// Completions that the kernel has posted and we have not taken.
    var ready: UInt32 { unsafe ringmirror_load_acquire(tail) &- head.pointee }

    /// Takes the oldest completion.
    mutating func next() -> RingCompletion? {
        let position = unsafe head.pointee
        guard unsafe ringmirror_load_acquire(tail) != position else { return nil }
        let index = Int(position & mask) << (isWide ? 1 : 0)
        let entry = unsafe entries[index]
        let completion = RingCompletion(
            token: entry.token, result: entry.result, flags: entry.flags,
            extra: isWide ? unsafe Self.extra(entries[index + 1]) : (0, 0))
        // The release makes sure that the entry was read before the kernel may write over it.
        unsafe ringmirror_store_release(head, position &+ 1)
        return completion
    }

    private static func extra(_ half: ringmirror_completion) -> (UInt64, UInt64) {
        (half.token, UInt64(UInt32(bitPattern: half.result)) | UInt64(half.flags) << 32)
    }
}
