internal import Glibc

/// The memory of one queue: a single stretch, zero at first, aligned to 2 MiB and advised to be
/// backed by transparent huge pages.
///
/// Huge pages are what makes large requests fast: a device takes a limited number of memory
/// segments a request (254 on virtio), so a 1 MiB request in 4 KiB pages is split, and one in a
/// huge page is not.
///
/// The slab is a class so that a queue, which has its address registered with the kernel, can keep
/// it alive. The kernel writes to it while reads are in flight, so nothing may look at the bytes of
/// a read before its completion.
///
/// The slab belongs to the queue's thread. Another thread may be lent a range of it, by something
/// that orders memory, such as a lock; until it gives the range back, nobody else touches that.
@safe public final class BufferSlab: @unchecked Sendable {
    /// The size of a huge page on the machines that matter; a slab is a whole number of them.
    public static let alignment = 2 << 20

    /// The kernel registers at most this much as one buffer.
    public static let maximumByteCount = 1 << 30

    /// A multiple of `alignment`.
    public let byteCount: Int
    private let base: UnsafeMutableRawPointer

    /// Maps at least `byteCount` bytes, rounded up to whole huge pages. It is an error also if
    /// that leaves the process too little for everything else.
    public init(byteCount wanted: Int) throws(RingError) {
        precondition(wanted > 0 && wanted <= Self.maximumByteCount)
        let mask = Self.alignment - 1
        let byteCount = (wanted + mask) & ~mask

        // mmap aligns to small pages only: map one huge page more, and give back what sticks out.
        let mapped = byteCount + Self.alignment + AddressSpace.reserve
        guard let start = unsafe AddressSpace.map(mapped) else {
            throw .noBufferMemory(bytes: byteCount, needed: mapped, code: errno)
        }
        let misalignment = Int(bitPattern: start) & mask
        let head = misalignment == 0 ? 0 : Self.alignment - misalignment
        let tail = mapped - head - byteCount
        if head > 0 { unsafe munmap(start, head) }
        unsafe munmap(start + head + byteCount, tail)
        unsafe base = start + head
        self.byteCount = byteCount

        // Where huge pages are switched off this fails, and small pages serve as well, only slower.
        unsafe madvise(base, byteCount, MADV_HUGEPAGE)
        // A process that is forked has no use for it, and would get a copy at once of what is
        // registered with a ring: seconds for 1 GiB. It has nothing at these addresses instead.
        unsafe madvise(base, byteCount, MADV_DONTFORK)
    }

    deinit { unsafe munmap(base, byteCount) }

    /// The address of a range, for the ring to hand to the kernel.
    internal func address(_ offset: Int, count: Int) -> UnsafeMutableRawPointer {
        precondition(
            offset >= 0 && count >= 0 && offset <= byteCount - count,
            "the request reaches outside the slab")
        return unsafe base + offset
    }

    /// Lends a range of bytes for reading.
    public func withBytes<Result>(_ range: Range<Int>, _ body: (RawSpan) -> Result) -> Result {
        let bytes = unsafe UnsafeRawBufferPointer(
            start: address(range.lowerBound, count: range.count), count: range.count)
        return unsafe body(bytes.bytes)
    }

    /// Lends a range of bytes for writing.
    public func withMutableBytes<Result>(
        _ range: Range<Int>, _ body: (inout MutableRawSpan) -> Result
    ) -> Result {
        let bytes = unsafe UnsafeMutableRawBufferPointer(
            start: address(range.lowerBound, count: range.count), count: range.count)
        var span = unsafe bytes.mutableBytes
        return body(&span)
    }

    /// Fills a range with zeros.
    public func clear(_ range: Range<Int>) {
        unsafe address(range.lowerBound, count: range.count)
            .initializeMemory(as: UInt8.self, repeating: 0, count: range.count)
    }

    /// Whether a range is all zeros; it must start on a word.
    public func isZero(_ range: Range<Int>) -> Bool {
        precondition(range.lowerBound & 7 == 0)
        let start = unsafe address(range.lowerBound, count: range.count)
        let words = range.count / 8
        let span = unsafe UnsafeBufferPointer(
            start: start.assumingMemoryBound(to: UInt64.self), count: words)
        guard unsafe isAllZero(span.span) else { return false }
        for offset in (words * 8)..<range.count
        where unsafe start.load(fromByteOffset: offset, as: UInt8.self) != 0 { return false }
        return true
    }

    /// How much of the slab huge pages really back, in bytes, as the kernel tells it; nil where it
    /// doesn't tell. Slow: it reads /proc/self/smaps.
    public func hugePageByteCount() -> Int? {
        unsafe HugePages.byteCount(
            in: UInt(bitPattern: base)..<(UInt(bitPattern: base) + UInt(byteCount)))
    }
}
