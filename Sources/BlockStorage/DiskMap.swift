/// What a stretch of a source reads as, and where its bytes live.
package struct SourceExtent: Sendable, Equatable {
    package enum Content: Sendable, Equatable {
        /// Bytes in one of the map's files, at this offset of that file.
        case data(file: Int, hostOffset: Int64)
        /// Reads as zeros; there is nothing to read.
        case zero
    }

    package let content: Content
    /// Bytes, at least one.
    package let length: Int64

    package init(_ content: Content, length: Int64) {
        self.content = content
        self.length = length
    }
}

/// Where a stretch of a target has to be written.
package struct TargetExtent: Sendable, Equatable {
    /// One of the map's files.
    package let file: Int
    package let hostOffset: Int64
    /// Bytes, at least one.
    package let length: Int64
    /// Offsets and lengths of writes to that file must be multiples of this.
    package let alignment: Int

    package init(file: Int, hostOffset: Int64, length: Int64, alignment: Int) {
        self.file = file
        self.hostOffset = hostOffset
        self.length = length
        self.alignment = alignment
    }
}

/// Answers where the bytes of a source live. It moves none of them.
///
/// A map is asked by every worker of a job, one at a time for sources (the run dispenser holds its lock)
/// and from any thread for the rest.
package protocol SourceMap: Sendable {
    /// What the source is called in messages.
    var name: String { get }
    /// Bytes, at the time it was opened.
    var size: Int64 { get }
    /// The descriptors that the `file` of an extent counts in. They stay open while the map lives.
    var descriptors: [CInt] { get }
    /// Offsets and lengths of reads must be multiples of this, a power of two.
    var alignment: Int { get }
    /// What begins at `offset`, and how far it goes, up to `limit`.
    ///
    /// Precondition: `0 <= offset < limit <= size`.
    func extent(at offset: Int64, limit: Int64) throws(StorageError) -> SourceExtent
    /// The size as the kernel tells it now. Disks vanish and shrink: then reads return no bytes.
    func currentSize() throws(StorageError) -> Int64
}

/// Answers where the bytes of a target go. It moves none of them.
package protocol TargetMap: Sendable {
    /// What the target is called in messages.
    var name: String { get }
    /// Bytes, at the time it was opened.
    var size: Int64 { get }
    /// The descriptors that the `file` of an extent counts in. They stay open while the map lives.
    var descriptors: [CInt] { get }
    /// The alignment of all writes but those of an unaligned end.
    var alignment: Int { get }
    /// The file that zeroing and flushing go to.
    var metadataFile: Int { get }
    /// Whether every byte read as zero when the target was opened.
    var startsZero: Bool { get }
    /// Where the bytes from `offset` on go, up to `limit`.
    ///
    /// Precondition: `0 <= offset < limit <= size`.
    func place(at offset: Int64, limit: Int64) throws(StorageError) -> TargetExtent
    /// Whether the range is known to read as zeros without being read.
    func readsAsZero(_ range: Range<Int64>) -> Bool
    /// The size as the kernel tells it now. Disks vanish and shrink: then writes say "no space".
    func currentSize() throws(StorageError) -> Int64
}
