package import BlockStorage
internal import CZlib
internal import CZstd

/// Decompresses clusters, one after the other, for one thread.
///
/// This file and `BigEndianWords.swift`, and nothing else in the module, handle pointers.
@safe package final class Decompressor {
    /// zlib's state points back at the stream, which therefore has a place of its own.
    private let stream: UnsafeMutablePointer<z_stream>
    private var streamIsReady = false
    private var frames: OpaquePointer?

    package init() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
    }

    deinit {
        if streamIsReady { unsafe inflateEnd(stream) }
        unsafe stream.deinitialize(count: 1)
        unsafe stream.deallocate()
        unsafe ZSTD_freeDCtx(frames)
    }

    /// Fills `output` with what `packed` decompresses to. What follows in `packed` is not looked
    /// at: clusters end anywhere in what is read for them.
    ///
    /// - Returns: false if it is not what the compression makes, or too little of it.
    package func unpack(
        _ packed: RawSpan, _ compression: Compression, into output: inout MutableRawSpan
    ) -> Bool {
        unsafe packed.withUnsafeBytes { source in
            unsafe output.withUnsafeMutableBytes { target in
                switch compression {
                case .zlib: unsafe inflate(source, target)
                case .zstd: unsafe decompress(source, target)
                }
            }
        }
    }

    /// The `length` bytes that `packed` decompresses to; nil if it does not.
    package func unpack(
        _ packed: [UInt8], _ compression: Compression, length: Int
    ) -> [UInt8]? {
        var unpacked = [UInt8](repeating: 0, count: length)
        var span = unpacked.mutableSpan
        var output = unsafe span.mutableBytes
        return unsafe unpack(packed.span.bytes, compression, into: &output) ? unpacked : nil
    }

    // The format has a window of 4 KiB. In one call the output itself is the window, so that a
    // larger one costs nothing, and reads what careless writers have made.
    private static let windowBits: CInt = -15

    private func inflate(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        if streamIsReady {
            guard unsafe inflateReset(stream) == Z_OK else { return false }
        } else {
            guard unsafe ringmirror_inflate_init(stream, Self.windowBits) == Z_OK else {
                return false
            }
            streamIsReady = true
        }
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: source.assumingMemoryBound(to: UInt8.self).baseAddress)
        unsafe stream.pointee.avail_in = UInt32(source.count)
        unsafe stream.pointee.next_out =
            target.assumingMemoryBound(to: UInt8.self).baseAddress
        unsafe stream.pointee.avail_out = UInt32(target.count)
        let result = unsafe CZlib.inflate(stream, Z_FINISH)
        // Z_BUF_ERROR: the stream would go on behind the cluster.
        guard result == Z_STREAM_END || result == Z_BUF_ERROR else { return false }
        return unsafe stream.pointee.avail_out == 0
    }

    /// Frame by frame and each at once: streaming would reserve whatever window a frame asks for.
    private func decompress(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        if unsafe frames == nil { unsafe frames = ZSTD_createDCtx() }
        guard let frames = unsafe frames, let from = source.baseAddress,
            let to = target.baseAddress
        else { return unsafe target.isEmpty }
        var read = 0
        var written = 0
        while written < target.count {
            guard read < source.count else { return false }
            let frame = unsafe ZSTD_findFrameCompressedSize(from + read, source.count - read)
            guard ZSTD_isError(frame) == 0, frame > 0 else { return false }
            let count = unsafe ZSTD_decompressDCtx(
                frames, to + written, target.count - written, from + read, frame)
            guard ZSTD_isError(count) == 0 else { return false }
            read += frame
            written += count
        }
        return true
    }
}
