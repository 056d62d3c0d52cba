internal import SystemPackage

/// Which disk or image this is, in terms that survive a change of its name.
///
/// Names such as `/dev/sdb` move between boots; what a bitmap or a checkpoint belongs to is told
/// by these facts. Fields that the kernel does not know are nil.
public struct DeviceIdentity: Codable, Equatable, Hashable, Sendable {
    /// The device number, for disks.
    public var deviceNumber: DeviceNumber?
    /// The filesystem's device number and the inode, for images.
    public var filesystemDevice: DeviceNumber?
    public var inode: UInt64?
    /// When the inode was made, in nanoseconds since 1970, for images: a file that was removed and
    /// made anew often gets the same number.
    public var birth: Int64?
    /// The inode's generation, where its birth is not known. It tells the same.
    public var generation: UInt32?
    /// The filesystem's name, for images.
    public var filesystem: String?
    /// Counts up whenever another medium or device takes this place, until the next boot.
    public var diskSequence: UInt64?
    public var model: String?
    public var serial: String?
    /// The worldwide name.
    public var wwn: String?
    /// The uuid of a device-mapper device or md array.
    public var uuid: String?
    /// The partition's number and first 512-byte sector on its disk.
    public var partition: Int?
    public var partitionStart: Int64?
    /// The file or device under a loop device: its filesystem's device number (or its own, if it
    /// is a device; the inode is then nil), its inode, and the byte in it where the loop begins.
    public var backingDevice: DeviceNumber?
    /// See `backingDevice`.
    public var backingInode: UInt64?
    /// When that inode was made, as in `birth`.
    public var backingBirth: Int64?
    /// See `backingDevice`; bytes.
    public var backingOffset: Int64?
    /// In bytes.
    public var size: Int64

    package init(size: Int64) { self.size = size }

    /// What statx says about an image.
    init(image status: FileStatus) {
        self.init(size: status.size)
        filesystemDevice = status.device
        inode = status.inode
        birth = status.born
    }

    /// The same storage with another size: that of the disk in an image, whose file has its own.
    package func withSize(_ size: Int64) -> DeviceIdentity {
        var copy = self
        copy.size = size
        return copy
    }
}

extension SystemView {
    /// What sysfs knows about a block device. Facts of the disk count for its partitions too.
    func identity(of number: DeviceNumber, size: Int64, diskSequence: UInt64?) -> DeviceIdentity {
        var identity = DeviceIdentity(size: size)
        identity.deviceNumber = number
        identity.diskSequence = diskSequence
        let own = "/sys/dev/block/\(number)"
        identity.partition = self.number(own + "/partition").map { Int($0) }
        if identity.partition != nil { identity.partitionStart = self.number(own + "/start") }
        guard let disk = diskDirectory(of: number) else { return identity }
        identity.model = value(disk + "/device/model") ?? value(disk + "/device/name")
        // Each driver keeps its serial elsewhere: NVMe, virtio, SCSI (a page of its inquiry).
        identity.serial =
            value(disk + "/device/serial") ?? value(disk + "/serial") ?? inquirySerial(disk)
        identity.wwn = value(disk + "/wwid") ?? value(disk + "/device/wwid")
        identity.uuid = value(disk + "/dm/uuid") ?? value(disk + "/md/uuid")
        addLoopBacking(to: &identity, disk: disk)
        return identity
    }

    /// A loop device has no name of its own that lasts; what lies under it has.
    private func addLoopBacking(to identity: inout DeviceIdentity, disk: String) {
        guard let backing = loopFile(disk: disk) else { return }
        switch backing.identity {
        case .block(let number): identity.backingDevice = number
        case .file(let device, let inode), .other(let device, let inode):
            identity.backingDevice = device
            identity.backingInode = inode
            identity.backingBirth = backingStatus(backing)?.born
        }
        identity.backingOffset = number(disk + "/loop/offset")
    }

    /// What lies under a loop device, given the directory of its disk; nil for other disks.
    func loopFile(disk: String) -> (path: FilePath, identity: NodeIdentity)? {
        guard let path = filePath(disk + "/loop/backing_file"),
            let number = value(disk + "/dev").flatMap({ DeviceNumber($0) }),
            let name = name(of: number),
            let identity = loopBacking(name) ?? identify(path.string)
        else { return nil }
        return (path, identity)
    }

    /// What statx says about the file below a loop device; nil if its path leads elsewhere by now.
    func backingStatus(_ backing: (path: FilePath, identity: NodeIdentity)) -> FileStatus? {
        guard let found = status(backing.path), found.identity == backing.identity else {
            return nil
        }
        return found
    }

    /// The filesystem of the file below a loop device; nil for anything else.
    func loopFilesystem(of node: NodeIdentity) -> Filesystem? {
        guard case .block(let number) = node, let disk = diskDirectory(of: number),
            let backing = loopFile(disk: disk), backingStatus(backing) != nil
        else { return nil }
        return filesystem(backing.path)
    }

    /// Page 0x80 of a SCSI inquiry: a header of four bytes, then the serial as text.
    private func inquirySerial(_ disk: String) -> String? {
        guard let page = bytes(disk + "/device/vpd_pg80"), page.count > 4, page[1] == 0x80 else {
            return nil
        }
        let text = String(decoding: page[4...], as: UTF8.self).trimmed
        return text.isEmpty ? nil : String(text)
    }
}
