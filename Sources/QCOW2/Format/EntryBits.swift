/// The bits of the 64-bit words by which an image refers to its clusters: the entries of its L1 and
/// L2 tables, of its refcount table and of the tables of its bitmaps.
package enum EntryBits {
    /// Bits 9 to 55 are an offset in the file. Clusters begin at multiples of their size, which is
    /// 512 at least, so that the lower bits are free for flags.
    package static let offset: UInt64 = 0x00ff_ffff_ffff_fe00
    /// No offset in an image is as large as this.
    package static let offsetLimit: UInt64 = 1 << 56
    /// Nothing else refers to the cluster: it may be written in place.
    package static let copied: UInt64 = 1 << 63
    /// In an L2 table: the cluster is compressed, and the word is laid out in another way.
    package static let compressed: UInt64 = 1 << 62
    /// In an L2 table without subclusters: the cluster reads as zeros.
    package static let zero: UInt64 = 1
}
