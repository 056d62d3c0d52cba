package import BlockStorage
internal import CZlib
internal import CZstd

/// Decompresses clusters, one after the other, for one thread.
///
/// This file and `BigEndianWords.swift`, and nothing else in the module, handle pointers.
@safe package final class Decompressor {
    private var inflater: OpaquePointer?
    private var zstd: OpaquePointer?

    package init() {}

    deinit {
        unsafe ringmirror_inflater_free(inflater)
        unsafe ringmirror_decompressor_free(zstd)
    }

    /// Fills `output` with what `compressed` decompresses to. What follows in `compressed` is not
    /// looked at: clusters end anywhere in what is read for them.
    ///
    /// - Returns: false if it is not what the compression makes, or too little of it.
    package func decompress(
        _ compressed: RawSpan, _ compression: Compression, into output: inout MutableRawSpan
    ) -> Bool {
        unsafe compressed.withUnsafeBytes { source in
            unsafe output.withUnsafeMutableBytes { target in
                switch compression {
                case .zlib: unsafe inflate(source, target)
                case .zstd: unsafe decompress(source, target)
                }
            }
        }
    }

    /// The `length` bytes that `compressed` decompresses to; nil if it does not.
    package func decompress(
        _ compressed: [UInt8], _ compression: Compression, length: Int
    ) -> [UInt8]? {
        var decompressed = [UInt8](repeating: 0, count: length)
        var span = decompressed.mutableSpan
        var output = unsafe span.mutableBytes
        return unsafe decompress(compressed.span.bytes, compression, into: &output)
            ? decompressed : nil
    }

    // The format has a window of 4 KiB. In one call the output itself is the window, so that a
    // larger one costs nothing, and reads what careless writers have made.
    private static let windowBits: CInt = 15

    private func inflate(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        if unsafe inflater == nil {
            unsafe inflater = ringmirror_inflater_make(Self.windowBits)
        }
        guard let inflater = unsafe inflater else { return false }
        return unsafe ringmirror_inflate(
            inflater, source.baseAddress, source.count, target.baseAddress, target.count) != 0
    }

    /// Frame by frame and each at once: streaming would reserve whatever window a frame asks for.
    private func decompress(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        if unsafe zstd == nil { unsafe zstd = ringmirror_decompressor_make() }
        guard let zstd = unsafe zstd, let from = source.baseAddress,
            let to = target.baseAddress
        else { return unsafe target.isEmpty }
        var read = 0
        var written = 0
        while written < target.count {
            guard read < source.count else { return false }
            let frame = unsafe ringmirror_frame_length(from + read, source.count - read)
            guard frame > 0 else { return false }
            var count = 0
            guard
                unsafe ringmirror_decompress(
                    zstd, from + read, frame, to + written, target.count - written, &count)
                    != 0
            else { return false }
            read += frame
            written += count
        }
        return true
    }
}
