/// How much of a disk or image holds data, as far as the file system tells.
public struct Allocation: Sendable, Equatable {
    /// Bytes that are not known to be zero. All of a disk: it doesn't tell.
    public let dataBytes: Int64
    /// Stretches of such bytes; holes shorter than 64 KiB don't divide them.
    public let extents: Int
}

extension StorageDevice {
    /// Asks the file system for every hole. Complexity: some system calls for each extent.
    public func allocation() throws(StorageError) -> Allocation {
        var dataBytes: Int64 = 0
        var extents = 0
        var offset: Int64 = 0
        while offset < geometry.size {
            let extent = try extent(at: offset)
            if extent.content == .data {
                dataBytes += Int64(extent.range.count)
                extents += 1
            }
            offset = extent.range.upperBound
        }
        return Allocation(dataBytes: dataBytes, extents: extents)
    }
}
