/// A filesystem by its magic number, and what is known about its direct I/O and its holes.
struct Filesystem: Equatable, Sendable {
    let magic: Int64

    static let zfs = Filesystem(magic: 0x2fc1_2fc1)
    static let btrfs = Filesystem(magic: 0x9123_683e)
    static let tmpfs = Filesystem(magic: 0x0102_1994)
    static let ramfs = Filesystem(magic: 0x8584_58f6)
    static let fuse = Filesystem(magic: 0x6573_5546)
    static let overlay = Filesystem(magic: 0x794c_7630)
    static let ext4 = Filesystem(magic: 0xef53)
    static let xfs = Filesystem(magic: 0x5846_5342)
    static let f2fs = Filesystem(magic: 0xf2f5_2010)
    static let nfs = Filesystem(magic: 0x6969)
    static let cifs = Filesystem(magic: 0xff53_4d42)
    static let smb2 = Filesystem(magic: 0xfe53_4d42)
    static let ninep = Filesystem(magic: 0x0102_1997)

    var name: String {
        switch self {
        case .zfs: "zfs"
        case .btrfs: "btrfs"
        case .tmpfs: "tmpfs"
        case .ramfs: "ramfs"
        case .fuse: "fuse"
        case .overlay: "overlay"
        // ext2 and ext3 share the number; the driver has been ext4's for years.
        case .ext4: "ext4"
        case .xfs: "xfs"
        case .f2fs: "f2fs"
        case .nfs: "nfs"
        case .cifs, .smb2: "smb"
        case .ninep: "9p"
        default: "filesystem 0x" + String(magic, radix: 16)
        }
    }

    /// Whether a page that is mapped for writing is written back for a look, and asks anew before
    /// the next store. What keeps files in memory never does, and what lies below overlay is not
    /// known.
    var mappingsShowWrites: Bool { [.ext4, .xfs, .btrfs, .f2fs].contains(self) }

    /// Whether every write to a file moves its times, as far as they are seen here. Of FUSE and of
    /// what virtual machines share with their host a server decides; and there its files are
    /// written beside the mount.
    var timesShowWrites: Bool { ![.fuse, .ninep].contains(self) }

    /// Whether all that writes a file goes by the inode that is seen here. Files of servers are
    /// written beside the mount, those of overlay in its layers.
    var showsWriters: Bool {
        [.ext4, .xfs, .btrfs, .f2fs, .tmpfs, .ramfs, .zfs].contains(self)
    }

    /// OpenZFS reported data that was still in memory as a hole, and copies lost it.
    var holesCanBeTrusted: Bool { self != .zfs }

    /// Linux asks their servers for a lock on all bytes when somebody calls flock.
    var makesFileLocksOfRecordLocks: Bool { [.nfs, .cifs, .smb2].contains(self) }

    /// Whether a hole that is punched reads as zeros for certain. A server decides what FUSE and
    /// network filesystems make of it, and nbdfuse makes a trim of it, which promises nothing.
    /// What lies below overlay is not known.
    var punchesHoles: Bool? {
        switch self {
        case .ext4, .xfs, .btrfs, .tmpfs, .f2fs: true
        case .ramfs: false
        default: nil
        }
    }

    /// Why O_DIRECT is accepted here and still does not mean what it says.
    var directCaveat: String? {
        switch self {
        case .tmpfs, .ramfs:
            "\(name) keeps its files in memory: direct I/O is accepted and changes nothing"
        case .zfs:
            "zfs may serve direct I/O from its own cache"
        case .btrfs:
            "btrfs copies through the page cache where it keeps checksums"
        case .fuse:
            "a FUSE file: its server decides whether direct I/O is direct"
        case .overlay:
            "an overlay file: the filesystem below decides whether direct I/O is direct"
        case .nfs, .cifs, .smb2, .ninep:
            "a \(name) file: direct I/O skips this machine's cache, not the server's"
        default: nil
        }
    }
}
