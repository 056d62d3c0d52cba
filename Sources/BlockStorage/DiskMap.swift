/// Where a stretch of a disk lives: the only thing that whoever moves the bytes needs to know.
package struct HostExtent: Sendable, Equatable {
    /// One of the map's files.
    package let file: Int
    /// The offset in that file.
    package let hostOffset: Int64
    /// Bytes, at least one.
    package let length: Int64
    /// Offsets and lengths of requests to that file must be multiples of this, a power of two.
    package let alignment: Int

    package init(file: Int, hostOffset: Int64, length: Int64, alignment: Int) {
        self.file = file
        self.hostOffset = hostOffset
        self.length = length
        self.alignment = alignment
    }
}

/// What a map of either side can tell.
///
/// A map answers where bytes live and moves none of them. Every worker of a job asks it, from its
/// own thread.
package protocol DiskMap: Sendable {
    /// What the disk is called in messages.
    var name: String { get }
    /// Bytes that are mapped, as settled when the job began.
    var size: Int64 { get }
    /// The descriptors that the `file` of an extent counts in. They stay open while the map lives.
    var descriptors: [CInt] { get }
    /// The alignment of requests anywhere but at an unaligned end.
    var alignment: Int { get }
    /// Where the bytes from `offset` on live, up to `limit`.
    ///
    /// Precondition: `0 <= offset < limit <= size`.
    func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent
    /// Whether the device still has all the bytes it had when it was opened. Devices vanish and
    /// shrink, and then answer with errors that mean something else: writes find no space, reads no
    /// bytes.
    func sizeChange() throws(StorageError) -> SizeChange?
}

/// A device that became smaller than it was.
package struct SizeChange: Sendable, Equatable {
    package let from: Int64
    package let to: Int64

    package init(from: Int64, to: Int64) {
        self.from = from
        self.to = to
    }
}

/// A disk that is read.
package protocol SourceMap: DiskMap {
    /// Whether what begins at `offset` reads as zeros without being read, and how far that goes.
    func content(at offset: Int64) throws(StorageError) -> StorageExtent
}

/// A disk that is written.
package protocol TargetMap: DiskMap {
    /// The file that flushing and zeroing go to, as the one that may: on a claimed disk only the
    /// descriptor that holds the claim is sure to be allowed to zero.
    var controlFile: Int { get }
    /// Whether every byte read as zero when the target was opened.
    var startsZero: Bool { get }
    /// Whether zeroing a range is more than the kernel writing zeros. On disks it isn't, and then
    /// writing them ourselves keeps progress, errors and cancelling.
    var zeroesRanges: Bool { get }
    /// Whether the range is known to read as zeros without being read.
    func readsAsZero(_ range: Range<Int64>) -> Bool
}

extension TargetMap {
    package var zeroesRanges: Bool { true }
}
