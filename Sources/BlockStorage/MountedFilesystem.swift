internal import CLinux
import Glibc
package import SystemPackage

/// A filesystem that is mounted, however often.
public struct MountedFilesystem: Hashable, Sendable {
    /// The number that the kernel has for it.
    public let device: DeviceNumber
    /// Its type, such as `ext4`.
    public let type: String
    /// What it was mounted from.
    public let source: String
    /// Whether nothing of it can be written.
    public let isReadOnly: Bool
    var places: [Place]

    /// Where it is mounted.
    struct Place: Hashable, Sendable {
        let mount: UInt64
        /// A process of the namespace in which that is; nil: of our own.
        let process: Int?
        let point: String

        var path: String { process.map { "/proc/\($0)/root\(point)" } ?? point }
    }

    init(_ mount: Mount, _ place: Place) {
        device = mount.device
        type = mount.filesystem
        source = mount.source
        isReadOnly = mount.options.split(separator: ",").contains("ro")
        places = [place]
    }

    /// Where it is mounted; those of other mount namespaces by way of a process there.
    public var points: [String] { places.map(\.path) }

    /// Drivers that have no way to freeze.
    private static let unfreezableTypes: Set<String> = [
        "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "udf", "hfs", "hfsplus", "minix",
        "affs", "bfs", "ufs", "sysv", "omfs", "iso9660", "squashfs", "erofs", "cramfs", "romfs",
    ]

    /// Whether it is of no type that is known to have no way to be frozen.
    package var canBeFrozen: Bool { !Self.unfreezableTypes.contains(type) }

    /// An open file or directory of it; nil if none of its mount points leads to it any more.
    package func open() -> Descriptor? {
        for place in places {
            // A path may lead to another filesystem that is mounted over it.
            guard let found = try? SystemCalls.open(place.path, O_PATH),
                SystemCalls.mountID(of: found).map({ $0 == place.mount }) ?? true,
                let status = try? SystemCalls.status(of: found),
                status.kind == .directory || status.kind == .regular,
                let opened = try? SystemCalls.reopen(found, O_RDONLY | O_NONBLOCK)
            else { continue }
            return opened
        }
        return nil
    }
}

extension MountedFilesystem {
    /// Wherever it is mounted: each mount namespace that is made has another mount of it.
    public static func == (one: Self, other: Self) -> Bool {
        one.device == other.device && one.type == other.type
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(device) }
}

extension MountedFilesystem: CustomStringConvertible {
    /// Such as `ext4 at /srv`.
    public var description: String { "\(type) at \(points.first ?? source)" }
}

extension SystemCalls {
    /// Whether an open file is a regular one.
    package static func isRegular(_ descriptor: CInt) -> Bool {
        var found = ringmirror_status()
        return unsafe ringmirror_status(descriptor, "", AT_EMPTY_PATH, &found) == 0
            && found.mode & S_IFMT == S_IFREG
    }

    /// The number of the mount through which it is open; nil before Linux 5.8.
    static func mountID(of descriptor: Descriptor) -> UInt64? {
        var id: UInt64 = 0
        let failure = unsafe ringmirror_mount_id(descriptor.raw, "", AT_EMPTY_PATH, &id)
        return failure == 0 ? id : nil
    }
}

extension Mount {
    /// The directory that an overlay writes to; nil: none.
    var upperDirectory: String? {
        let prefix = "upperdir="
        let option = options.split(separator: ",").first { $0.hasPrefix(prefix) }
        return option.map { unescapeOctal($0.dropFirst(prefix.count)) }
    }
}

extension SystemView {
    /// The filesystems that a write to a file would go to, by their numbers: of a path that is not
    /// there, those of the directory that it would be made in. More than one where overlays are.
    package func filesystems(writtenBy path: FilePath) -> Set<DeviceNumber> {
        guard let own = mountTables()?.first else { return [] }
        var found: Set<DeviceNumber> = []
        var pending: FilePath? = path
        while let next = pending {
            pending = nil
            guard let place = Self.nearest(next) else { break }
            let id = SystemCalls.mountID(of: place)
            guard let mount = own.mounts.first(where: { $0.id == id }) else {
                if let status = try? SystemCalls.status(of: place) { found.insert(status.device) }
                break
            }
            guard found.insert(mount.device).inserted else { break }
            pending = mount.upperDirectory.map { FilePath($0) }
        }
        return found
    }

    /// The path, or the directory above it that is there.
    private static func nearest(_ path: FilePath) -> Descriptor? {
        var path = path
        while true {
            if let place = try? SystemCalls.open(path, O_PATH) { return place }
            guard !path.components.isEmpty else {
                return path.isAbsolute ? nil : try? SystemCalls.open(".", O_PATH)
            }
            path.removeLastComponent()
        }
    }
}
