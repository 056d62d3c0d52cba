public import BlockStorage
public import QCOW2
public import SystemPackage

extension Disk {
    /// What is wrong with the partition table of this disk when it has been copied to `target`;
    /// nil if nothing is, or if there is none.
    ///
    /// A few KiB at the beginning of this disk are read. What can't be read tells nothing.
    public func partitionTableNote(copiedTo target: Disk) -> PartitionTableNote? {
        note(for: target.side)
    }

    /// The same of a target that is not there yet: a file that will be made with this disk's size.
    ///
    /// - Parameter format: of the new file; nil: the one that its name tells.
    public func partitionTableNote(
        copiedToNew path: FilePath, format: ImageFormat? = nil
    ) -> PartitionTableNote? {
        let isRaw = (format ?? ImageFormat(forNew: path)) == .raw
        return note(
            for: PartitionTableNote.Side(
                sectorSize: nil, size: geometry.size, path: isRaw ? path.string : nil))
    }

    private func note(for target: PartitionTableNote.Side) -> PartitionTableNote? {
        let table = PartitionTable.find(
            size: geometry.size, assumed: side.sectorSize ?? 512
        ) { range in
            try? read(at: range.lowerBound, count: range.count)
        }
        return table.flatMap { PartitionTableNote($0, from: side, to: target) }
    }

    private var side: PartitionTableNote.Side {
        let isDisk = image == nil && device.kind == .disk
        return PartitionTableNote.Side(
            sectorSize: isDisk ? Int64(geometry.logicalBlockSize) : nil, size: geometry.size,
            path: image == nil ? path.string : nil,
            optimalTransfer: isDisk ? Int64(geometry.optimalTransfer ?? 0) : 0)
    }

    private func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        guard let image else { return try DeviceFile(device).read(at: offset, count: count) }
        return try image.read(at: offset, count: count)
    }
}
