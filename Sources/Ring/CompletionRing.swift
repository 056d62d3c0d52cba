internal import CLiburing

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

    init(
        head: UnsafeMutablePointer<UInt32>, tail: UnsafeMutablePointer<UInt32>, mask: UInt32,
        entries: UnsafeMutablePointer<ringmirror_completion>
    ) {
        unsafe self.head = head
        unsafe self.tail = tail
        self.mask = mask
        unsafe self.entries = entries
    }

    /// Completions that the kernel has posted and we have not taken.
    var ready: UInt32 { unsafe ringmirror_load_acquire(tail) &- head.pointee }

    /// Takes the oldest completion.
    mutating func next() -> Completion? {
        let position = unsafe head.pointee
        guard unsafe ringmirror_load_acquire(tail) != position else { return nil }
        let entry = unsafe entries[Int(position & mask)]
        let completion = Completion(token: entry.token, result: entry.result)
        // The release makes sure that the entry was read before the kernel may write over it.
        unsafe ringmirror_store_release(head, position &+ 1)
        return completion
    }
}
