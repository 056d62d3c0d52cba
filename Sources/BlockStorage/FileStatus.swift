/// What statx says about one file.
struct FileStatus: Sendable {
    let kind: FileKind
    let device: DeviceNumber
    /// The number of the device that the file *is*, for device nodes.
    let special: DeviceNumber
    let inode: UInt64
    /// How many names the inode has.
    let links: UInt32
    let size: Int64
    /// When its content was last written, in nanoseconds since 1970.
    let modified: Int64
    /// When anything about it last changed: its content, names, owner or times. The same unit.
    let changed: Int64
    /// Whether it was last written before or after all times that can be told apart here.
    var hasExtremeTime: Bool { modified == .min || modified == .max }
    /// When the inode was made, which nobody can set; nil where the filesystem does not keep it.
    let born: Int64?
    /// Nil where the kernel does not say (before 6.1, or a filesystem that has no answer).
    let direct: DirectAlignment?

    var identity: NodeIdentity {
        switch kind {
        case .blockDevice: .block(special)
        case .regular: .file(device: device, inode: inode)
        default: .other(device: device, inode: inode)
        }
    }
}

struct DirectAlignment: Equatable, Sendable {
    /// 0: the file refuses direct I/O.
    let memory: Int
    let offset: Int
}

enum FileKind: Sendable, Equatable {
    case regular, blockDevice, directory, characterDevice, pipe, socket, other
}

/// Which object a path or descriptor leads to, whatever its name: the key of every comparison.
package enum NodeIdentity: Hashable, Sendable {
    case block(DeviceNumber)
    case file(device: DeviceNumber, inode: UInt64)
    case other(device: DeviceNumber, inode: UInt64)
}
