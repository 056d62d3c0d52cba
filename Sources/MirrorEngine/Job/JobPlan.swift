package import BlockStorage
internal import DirtyBitmap
internal import Ring

/// Everything about a job that is settled before its first request and never changes.
package struct JobPlan: Sendable {
    package let source: any SourceMap
    package let target: any TargetMap
    /// What a queue is made over: the source's endpoints, then the target's.
    package let endpoints: [Endpoint]
    /// How many of them are the source's.
    private let sourceFiles: Int
    package let zeroes: ZeroHandling
    package let targetStartsZero: Bool
    package let sourcePolicy: ErrorPolicy
    package let targetPolicy: ErrorPolicy
    /// Bytes of the largest read or write.
    package let requestSize: Int
    /// Requests in flight on each ring.
    package let depth: Int
    /// The memory of each ring.
    package let layout: SlabLayout
    /// Runs begin and end on multiples of this, but for the end of the disk: the larger of the two
    /// sides' blocks, and at least a page unless the bitmap is finer than that.
    package let blockSize: Int64
    /// What runs are best cut at multiples of: the larger of the two sides' units.
    package let unit: Int64
    /// Drop what was read and written from the page cache.
    package let dropSourceCache: Bool
    package let dropTargetCache: Bool

    /// Zeroing moves nothing, so it goes in larger steps. Not in one: a step can't be interrupted,
    /// and some file systems hold their lock for all of it.
    package static let zeroLimit: Int64 = 1 << 30

    /// Zeros are looked for in pieces of this size; smaller holes cost more than they save. And a
    /// cluster of the target is left alone as a whole or not at all.
    package var zeroGranule: Int64 { max(64 << 10, target.unit) }

    /// Bytes of the largest run.
    package var runBytes: Int { max(requestSize, Int(unit)) }

    package init(
        source: any SourceMap, target: any TargetMap, options: MirrorOptions, requestSize: Int,
        depth: Int, bufferBytes: Int, granularity: Int64 = .max, dropSourceCache: Bool = false,
        dropTargetCache: Bool = false
    ) {
        self.source = source
        self.target = target
        let sources = source.endpoints
        sourceFiles = sources.count
        endpoints = sources + target.endpoints
        zeroes = options.zeroes
        targetStartsZero = options.targetIsZero || target.startsZero
        sourcePolicy = options.sourceErrorPolicy
        targetPolicy = options.targetErrorPolicy
        let block = Self.blockSize(source.alignment, target.alignment, granularity)
        let unit = max(source.unit, target.unit, block)
        blockSize = block
        self.unit = unit
        self.requestSize = requestSize
        self.depth = depth
        layout = SlabLayout(
            source, bufferBytes: bufferBytes, largestRun: max(requestSize, Int(unit)),
            requestSize: requestSize)
        self.dropSourceCache = dropSourceCache
        self.dropTargetCache = dropTargetCache
    }

    /// The smallest unit that is copied between two disks with these alignments, of what a bitmap
    /// of this granularity has dirty.
    package static func blockSize(_ source: Int, _ target: Int, _ granularity: Int64) -> Int64 {
        max(Int64(source), Int64(target), min(4096, granularity))
    }

    func targetFile(_ index: Int) -> FileIndex { FileIndex(UInt32(sourceFiles + index)) }

    /// Whether clusters may have to be decompressed.
    package var hasCompressed: Bool { layout.compressed.count > 0 }

    package var slabBytes: Int { layout.byteCount }
    var zeroArea: Range<Int> { layout.zeros }
}

extension DirtyBitmap {
    /// The same bitmap, or one with granules of `blockSize` bytes if its own are smaller: what is
    /// dirty stays dirty. Complexity: O(words and runs).
    consuming func coarsened(to blockSize: Int64) -> DirtyBitmap {
        guard granularity.bytes < blockSize,
            let coarse = try? Granularity(bytes: blockSize)
        else { return self }
        var result = DirtyBitmap(size: size, granularity: coarse)
        result.merge(sameSize: self)
        return result
    }
}
