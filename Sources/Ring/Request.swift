/// Which of the files that were given to a queue at its creation a request is about.
public struct FileIndex: Sendable, Hashable {
    /// The position in the array of files.
    public let rawValue: UInt32

    /// The file at this position.
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
}

/// One request to a `RequestQueue`, described without a pointer: files are named by index, memory
/// by its offset in the queue's `BufferSlab`.
public struct Request: Sendable, Equatable {
    /// What is to be done.
    public enum Operation: UInt8, Sendable {
        case nop
        case read
        case write
        /// fsync: data and all metadata.
        case sync
        /// fdatasync: data, and the metadata without which it could not be read back.
        case dataSync
        /// fallocate: the range reads as zeros and its space may be given back. The file keeps its
        /// size.
        case punchHole
        /// fallocate: the range reads as zeros and its space stays. The file keeps its size.
        case zeroRange
        /// sync_file_range: start writing back this range of the page cache and wait for it.
        case writeBack
        /// posix_fadvise(DONTNEED): drop this range from the page cache.
        case dropCache
        /// Completes when the file has something to read.
        case pollIn
        /// Completes with -ETIME after `offset` nanoseconds.
        case timeout
        /// Asks the kernel to cancel the request whose token is in `offset`.
        case cancel
    }

    /// What is to be done.
    public let operation: Operation
    /// The file it is about; of no meaning for `.nop`, `.timeout` and `.cancel`.
    public let file: FileIndex
    /// The byte in the file. For `.timeout` nanoseconds, for `.cancel` the bits of a token.
    public let offset: Int64
    /// Bytes. Reads and writes take at most what fits an `Int32`, as the kernel does.
    public let length: Int64
    /// Where in the slab the bytes come from or go to; reads and writes only.
    public let bufferOffset: Int

    /// Reads from the file into the slab.
    public static func read(
        _ file: FileIndex, at offset: Int64, count: Int, into bufferOffset: Int
    ) -> Request {
        Request(.read, file, offset, Int64(count), bufferOffset)
    }

    /// Writes from the slab to the file.
    public static func write(
        _ file: FileIndex, at offset: Int64, count: Int, from bufferOffset: Int
    ) -> Request {
        Request(.write, file, offset, Int64(count), bufferOffset)
    }

    /// Flushes the file. It does **not** wait for writes that are still in flight: reap those
    /// first.
    public static func dataSync(_ file: FileIndex) -> Request { Request(.dataSync, file) }

    /// Like `dataSync`, with all metadata.
    public static func sync(_ file: FileIndex) -> Request { Request(.sync, file) }

    /// Zeroes a range and gives its space back.
    public static func punchHole(_ file: FileIndex, at offset: Int64, count: Int64) -> Request {
        Request(.punchHole, file, offset, count)
    }

    /// Zeroes a range and keeps its space.
    public static func zeroRange(_ file: FileIndex, at offset: Int64, count: Int64) -> Request {
        Request(.zeroRange, file, offset, count)
    }

    /// Writes a range of the page cache to the file's disk; ranges from 4 GiB on, up to the end.
    public static func writeBack(_ file: FileIndex, at offset: Int64, count: Int64) -> Request {
        Request(.writeBack, file, offset, count)
    }

    /// Forgets a range of the page cache; ranges from 4 GiB on, up to the end.
    public static func dropCache(_ file: FileIndex, at offset: Int64, count: Int64) -> Request {
        Request(.dropCache, file, offset, count)
    }

    /// Waits until the file can be read.
    public static func pollIn(_ file: FileIndex) -> Request { Request(.pollIn, file) }

    /// Waits for a time.
    public static func timeout(nanoseconds: Int64) -> Request {
        Request(.timeout, FileIndex(0), nanoseconds)
    }

    /// Cancels the request that has this token. Both complete: the other one with -ECANCELED if it
    /// could be cancelled, and this one with 0, -ENOENT or -EALREADY.
    public static func cancel(_ token: Token) -> Request {
        Request(.cancel, FileIndex(0), Int64(bitPattern: token))
    }

    /// Does nothing but complete.
    public static let nop = Request(.nop, FileIndex(0))

    private init(
        _ operation: Operation, _ file: FileIndex, _ offset: Int64 = 0, _ length: Int64 = 0,
        _ bufferOffset: Int = 0
    ) {
        self.operation = operation
        self.file = file
        self.offset = offset
        self.length = length
        self.bufferOffset = bufferOffset
    }
}
