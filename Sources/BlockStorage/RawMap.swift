internal import DirtyBitmap
internal import SystemPackage

/// The map of a raw disk or image: every byte is where its offset says.
///
/// The end of an image may be off the block. Reads ask for the whole block and get less. Writes of
/// the last page go through the page cache, on a descriptor of their own, because a direct write
/// can't end there. A whole page and not a sector: the cache writes pages back, and would undo a
/// direct write to another sector of its page.
package struct RawMap: SourceMap, TargetMap {
    /// Where the page cache begins to be used for writes; `size` if it never is.
    private let tailStart: Int64
    private let isWritten: Bool
    private let device: StorageDevice

    package let size: Int64
    package let alignment: Int

    private static let pageSize: Int64 = 4096

    /// Maps the first `size` bytes of a device for one use of it; nil for all bytes, and for the
    /// use it was opened for. A target that is verified is mapped for reading: what the page cache
    /// has of its tail proves nothing about the disk.
    package init(_ device: StorageDevice, size: Int64? = nil, for access: Access? = nil) {
        self.device = device
        isWritten = (access ?? device.access) == .readWrite
        startsZero = isWritten && device.takeStartsZero()
        self.size = size ?? device.geometry.size
        alignment = device.geometry.offsetAlignment
        let isAligned = self.size % Int64(alignment) == 0
        tailStart = isAligned ? self.size : self.size.roundedDown(to: Self.pageSize)
    }

    package var name: String { device.path.string }

    package var endpoints: [Endpoint] { device.endpoints }

    package let startsZero: Bool

    /// Where it is not known that a punched hole reads as zeros, zeros are written: to look at each
    /// hole afterwards would cost as much as that, and a server may answer otherwise later.
    package var zeroesPlaces: Bool {
        switch device.kind {
        case .image: device.zeroing.punchesHoles == true
        case .disk: device.zeroing.punchesHoles != false
        }
    }

    package var zeroesRanges: Bool { device.kind == .image }

    package var controlFile: Int { 1 }

    package func content(at offset: Int64) throws(StorageError) -> StorageExtent {
        let extent = try device.extent(at: offset)
        return StorageExtent(
            range: offset..<min(extent.range.upperBound, size), content: extent.content)
    }

    package func readsAsZero(_ range: Range<Int64>) -> Bool { device.readsAsZero(range) }

    package func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent {
        precondition(offset >= 0 && offset < limit && limit <= size)
        if isWritten && offset >= tailStart {
            return HostExtent(file: 1, hostOffset: offset, length: limit - offset, alignment: 1)
        }
        let end = isWritten ? min(limit, tailStart) : limit
        return HostExtent(
            file: 0, hostOffset: offset, length: end - offset, alignment: alignment)
    }

    package func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
        .stored(try place(at: offset, limit: limit))
    }

    package func sizeChange() throws(StorageError) -> SizeChange? {
        let now = try device.currentSize()
        return now < device.geometry.size ? SizeChange(from: device.geometry.size, to: now) : nil
    }
}
