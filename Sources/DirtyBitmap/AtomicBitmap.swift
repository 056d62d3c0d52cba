internal import Synchronization

/// A dirty bitmap that many threads mark while others take the marks away: what was written to a
/// disk in use.
///
/// It rounds as `DirtyBitmap` does. A mark that was set before a drain began is found by it; one
/// that is set meanwhile is found by it or by the next, and by none of them twice.
///
/// Who copies what is marked has to drain before the read is submitted, and who writes has to mark
/// when the write is submitted and again when it has completed, before anybody is told: a read
/// between the two then has a drain behind it that finds the mark.
@safe public final class AtomicBitmap: @unchecked Sendable {
    package let geometry: BitmapGeometry
    /// One bit for each granule, as in `DirtyBitmap`; the bits behind the last granule stay zero.
    private let words: UnsafeMutableBufferPointer<Atomic<UInt64>>

    /// Makes a bitmap in which nothing is dirty. Complexity: O(words).
    ///
    /// - Throws: `negativeSize` and `tooManyGranules`.
    public init(size: Int64, granularity: Granularity = .default) throws(DirtyBitmapError) {
        geometry = try BitmapGeometry(size: size, granularity: granularity)
        unsafe words = .allocate(capacity: geometry.wordCount)
        for index in unsafe words.indices {
            unsafe words.initializeElement(at: index, to: Atomic(0))
        }
    }

    deinit {
        unsafe words.deinitialize().deallocate()
    }

    /// Bytes of the disk.
    public var size: Int64 { geometry.size }

    /// Bytes per bit.
    public var granularity: Granularity { geometry.granularity }

    /// Marks every granule dirty of which `range` holds at least one byte. Any thread may call it,
    /// at any time; it waits for nothing and allocates nothing.
    ///
    /// - Parameter range: bytes within `0..<size`; anything else stops the program. May be empty.
    /// - Complexity: O(words in the range).
    public func set(_ range: Range<Int64>) {
        var granule = geometry.granules(touching: range)
        while !granule.isEmpty {
            let word = granule.lowerBound &>> 6
            let first = granule.lowerBound & 63
            let end = min(granule.upperBound &- (word &<< 6), 64)
            let mask = (~0 &>> UInt64(64 &- (end &- first))) &<< UInt64(first)
            // Also where it is set: a drain that has just taken it must not be the last.
            unsafe words[word].bitwiseOr(mask, ordering: .acquiringAndReleasing)
            granule = min((word &+ 1) &<< 6, granule.upperBound)..<granule.upperBound
        }
    }

    /// Marks the whole disk dirty, as `set` does.
    public func setAll() { set(0..<size) }

    /// Moves all marks to `bits`: dirty there is what was dirty there or here, and nothing is dirty
    /// here that was not marked meanwhile. One thread at a time.
    ///
    /// - Precondition: the sizes and granularities are equal.
    /// - Returns: whether there was a mark.
    /// - Complexity: O(words); words without a mark are only looked at.
    @discardableResult
    public func drain(into bits: inout DirtyBitmap) -> Bool {
        precondition(bits.geometry == geometry, "bitmaps of different shapes")
        var found: UInt64 = 0
        for index in unsafe words.indices {
            guard unsafe words[index].load(ordering: .acquiring) != 0 else { continue }
            let taken = unsafe words[index].exchange(0, ordering: .acquiringAndReleasing)
            bits.merge(taken, ofWord: index, finerBy: 0)
            found |= taken
        }
        bits.checkInvariants()
        return found != 0
    }

    /// Whether no mark was there at some moment of the call. It proves nothing while threads mark.
    ///
    /// - Complexity: O(words).
    public var isClean: Bool {
        unsafe words.indices.allSatisfy { unsafe words[$0].load(ordering: .acquiring) == 0 }
    }
}
