internal import DirtyBitmap

/// Where a stretch of a disk lives: the only thing that whoever moves the bytes needs to know.
package struct HostExtent: Sendable, Equatable {
    /// One of the map's endpoints.
    package let file: Int
    /// The offset in that file.
    package let hostOffset: Int64
    /// Bytes, at least one.
    package let length: Int64
    /// Offsets and lengths of requests to that file must be multiples of this, a power of two. Only
    /// at the end of the disk may a length be none, and in a source where zeros follow.
    package let alignment: Int

    package init(file: Int, hostOffset: Int64, length: Int64, alignment: Int) {
        self.file = file
        self.hostOffset = hostOffset
        self.length = length
        self.alignment = alignment
    }
}

/// How the bytes of a cluster were compressed.
package enum Compression: UInt8, Sendable, Equatable {
    /// Raw deflate with a window of 4 KiB, as qcow2 has it.
    case zlib
    case zstd
}

/// A stretch of a disk that has to be decompressed: the part `skip..<skip + length` of a cluster.
package struct CompressedExtent: Sendable, Equatable {
    /// One of the map's endpoints.
    package let file: Int
    /// Where the compressed bytes begin in that file: anywhere.
    package let hostOffset: Int64
    /// How many bytes to read at most. What was compressed may end before that, and so may the
    /// file.
    package let compressedLength: Int
    /// Requests to the file must be multiples of this, as in `HostExtent`.
    package let alignment: Int
    package let compression: Compression
    /// Bytes that come out when it is decompressed.
    package let clusterLength: Int
    /// Bytes of the cluster before the stretch.
    package let skip: Int
    /// Bytes of the stretch, at least one.
    package let length: Int64

    package init(
        file: Int, hostOffset: Int64, compressedLength: Int, alignment: Int,
        compression: Compression,
        clusterLength: Int, skip: Int, length: Int64
    ) {
        self.file = file
        self.hostOffset = hostOffset
        self.compressedLength = compressedLength
        self.alignment = alignment
        self.compression = compression
        self.clusterLength = clusterLength
        self.skip = skip
        self.length = length
    }
}

/// How to come by a stretch of a source.
package enum SourcePlace: Sendable, Equatable {
    case stored(HostExtent)
    /// So many bytes that read as zeros.
    case zero(length: Int64)
    case compressed(CompressedExtent)

    /// Bytes of the stretch.
    package var length: Int64 {
        switch self {
        case .stored(let extent): extent.length
        case .zero(let length): length
        case .compressed(let extent): extent.length
        }
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
    /// What the `file` of an extent counts in. Descriptors stay open while the map lives. Asked for
    /// once by each job.
    var endpoints: [Endpoint] { get }
    /// The alignment of requests anywhere but at an unaligned end.
    var alignment: Int { get }
    /// Runs are best cut at multiples of this many bytes, a power of two: a cluster. 1 if it makes
    /// no difference.
    var unit: Int64 { get }
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
    /// The most bytes that a `CompressedExtent` asks for; 0 if there will be none.
    var compressedLengthMax: Int { get }
    /// Whether what begins at `offset` reads as zeros without being read, and how far that goes.
    /// What is data may have zeros in it: they are found by `locate`.
    func content(at offset: Int64) throws(StorageError) -> StorageExtent
    /// Where the bytes from `offset` on live, up to `limit`.
    ///
    /// Precondition: `0 <= offset < limit <= size`.
    func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace
}

/// A disk that is written.
///
/// A map that has to allocate keeps that to itself until it is told what has been written, and
/// makes it last in two steps around a flush: `seal`, flush of `controlFile`, `commit`.
package protocol TargetMap: DiskMap {
    /// The file that flushing and zeroing go to, as the one that may: on a claimed disk only the
    /// descriptor that holds the claim is sure to be allowed to zero.
    var controlFile: Int { get }
    /// Whether every byte read as zero when the target was opened.
    var startsZero: Bool { get }
    /// Whether places may be zeroed by fallocate; else only by `zeroInMap` and by writing zeros.
    var zeroesPlaces: Bool { get }
    /// Whether zeroing a range is more than the kernel writing zeros. On disks it isn't, and then
    /// writing them ourselves keeps progress, errors and cancelling.
    var zeroesRanges: Bool { get }
    /// Whether the range is known to read as zeros without being read.
    func readsAsZero(_ range: Range<Int64>) -> Bool
    /// Where to write the bytes from `offset` on, up to `limit`; allocates what isn't there. Not
    /// all of them need be written at once, nor before others are asked for.
    ///
    /// What is not asked for of a cluster that had to be allocated reads as it did before.
    ///
    /// Precondition: `0 <= offset < limit <= size`.
    func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent
    /// Makes a range read as zeros, from its start on, as far as the map alone can do it.
    ///
    /// - Returns: how many bytes; 0 where zeros have to be written.
    func zeroInMap(_ range: Range<Int64>) throws(StorageError) -> Int64
    /// All that was to be written to this range has arrived where `place` said, or is zero by
    /// `zeroInMap`. From the next `seal`, flush and `commit` on it lasts, whatever becomes of other
    /// bytes of the same clusters.
    func wrote(_ range: Range<Int64>)
    /// Bytes that failed to be written where `place` said, and won't be tried there again. Other
    /// bytes beside them may still be on their way there.
    ///
    /// - Returns: the range, and what else can't be relied on to have been written because it
    ///   shares a cluster with it.
    func lost(_ range: Range<Int64>) -> Range<Int64>
    /// Notes what has been written by now. Workers go on writing meanwhile. A flush of
    /// `controlFile` that succeeds has to follow before `commit`.
    func seal()
    /// Makes what was sealed last. `isFinal` after the last write of the job, however it ended. An
    /// error is as final as that of a flush: nothing is asked of the map any more.
    func commit(isFinal: Bool) throws(StorageError)
}

extension DiskMap {
    package var unit: Int64 { 1 }
}

extension SourceMap {
    package var compressedLengthMax: Int { 0 }

    /// What begins at `start`, as a job copies it whose runs are cut at multiples of `unit`, a
    /// power of two: the end of data moves behind its unit, that of zeros before it.
    package func content(at start: Int64, unit: Int64) throws(StorageError) -> StorageExtent {
        let extent = try content(at: start)
        let end = extent.range.upperBound
        if end == size { return StorageExtent(range: start..<end, content: extent.content) }
        if extent.content == .zero, end.roundedDown(to: unit) > start {
            return StorageExtent(range: start..<end.roundedDown(to: unit), content: .zero)
        }
        return StorageExtent(range: start..<min(end.roundedUp(to: unit), size), content: .data)
    }
}

extension TargetMap {
    package var zeroesPlaces: Bool { true }
    package var zeroesRanges: Bool { true }
    package func zeroInMap(_ range: Range<Int64>) throws(StorageError) -> Int64 { 0 }
    package func wrote(_ range: Range<Int64>) {}
    package func lost(_ range: Range<Int64>) -> Range<Int64> { range }
    package func seal() {}
    package func commit(isFinal: Bool) throws(StorageError) {}
}
