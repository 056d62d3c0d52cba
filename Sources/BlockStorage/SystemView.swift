internal import CLinux
import Glibc
internal import SystemPackage

/// The kernel's own account of disks, mounts and processes: proc and sysfs below a root.
///
/// The root is `/` in earnest. Tests put a directory of fixtures there, which stands in for
/// machines that cannot be had: device mapper, md arrays, NVMe partitions.
package struct SystemView: Sendable {
    let root: String
    /// What a path of this machine leads to. Apart from the files themselves, because fixtures
    /// can hold text but no device nodes.
    let identify: @Sendable (String) -> NodeIdentity?
    /// What lies under a loop device, when the kernel can be asked; the path in sysfs is second.
    let loopBacking: @Sendable (String) -> NodeIdentity?
    /// What statx says about a path of this machine, asked anew.
    let status: @Sendable (FilePath) -> FileStatus?
    /// The filesystem that has a path of this machine.
    let filesystem: @Sendable (FilePath) -> Filesystem?
    /// Whether two threads have one table of descriptors; nil where that can't be told.
    let sharesDescriptors: @Sendable (Int, Int) -> Bool?

    /// The machine we run on.
    package static let live = SystemView(
        root: "",
        identify: { path in try? SystemCalls.status(at: path).identity },
        loopBacking: { name in
            guard let node = try? SystemCalls.open("/dev/" + name, O_RDONLY | O_NONBLOCK)
            else { return nil }
            return SystemCalls.loopBacking(node)
        },
        status: { path in try? SystemCalls.freshStatus(at: path) },
        filesystem: { path in
            // O_PATH opens nothing: a server is not asked.
            guard let place = try? SystemCalls.open(path, O_PATH) else { return nil }
            return (try? SystemCalls.filesystemMagic(place)).map { Filesystem(magic: $0) }
        },
        sharesDescriptors: { one, other in
            let answer = ringmirror_shares_descriptors(CInt(one), CInt(other))
            return answer < 0 ? nil : answer != 0
        })

    init(
        root: String,
        identify: @escaping @Sendable (String) -> NodeIdentity?,
        loopBacking: @escaping @Sendable (String) -> NodeIdentity? = { _ in nil },
        status: @escaping @Sendable (FilePath) -> FileStatus? = { _ in nil },
        filesystem: @escaping @Sendable (FilePath) -> Filesystem? = { _ in nil },
        sharesDescriptors: @escaping @Sendable (Int, Int) -> Bool? = { _, _ in nil }
    ) {
        self.root = root
        self.identify = identify
        self.loopBacking = loopBacking
        self.status = status
        self.filesystem = filesystem
        self.sharesDescriptors = sharesDescriptors
    }

    /// The text of a file without its last line end; nil if it cannot be read.
    func text(_ path: String) -> String? {
        guard var text = try? SystemCalls.text(at: root + path) else { return nil }
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }

    /// The kernel's number of this run of the machine; nil: it does not tell.
    package var bootID: String? { value("/proc/sys/kernel/random/boot_id") }

    func bytes(_ path: String) -> [UInt8]? {
        try? SystemCalls.bytes(at: root + path)
    }

    /// A path that a file of proc or sysfs holds, byte for byte.
    func filePath(_ path: String) -> FilePath? {
        guard var bytes = bytes(path) else { return nil }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        return SystemCalls.path(bytes)
    }

    /// A text that is a value: blanks around it cut off, nil if nothing is left.
    func value(_ path: String) -> String? {
        guard let text = text(path) else { return nil }
        let trimmed = text.trimmed
        return trimmed.isEmpty ? nil : String(trimmed)
    }

    func number(_ path: String) -> Int64? {
        value(path).flatMap { Int64($0) }
    }

    /// Whether the open files of every process can be listed; not, if there is no proc to ask, nor
    /// in a container, which has processes and users of its own.
    var seesAllProcesses: Bool {
        for (kind, number) in Self.firstNamespaces {
            let own = linkTarget("/proc/self/ns/\(kind)")
            guard own == nil || own == "\(kind):[\(number)]" else { return false }
        }
        let path = root + "/proc/1/fd"
        return (try? SystemCalls.open(FilePath(path), O_RDONLY | O_DIRECTORY)) != nil
    }

    /// The machine's own namespaces have numbers that the kernel fixes (proc_ns.h).
    private static let firstNamespaces = [("pid", 0xEFFF_FFFC), ("user", 0xEFFF_FFFD)]

    func entries(_ path: String) -> [String] {
        (try? SystemCalls.entries(of: root + path).sorted()) ?? []
    }

    func linkTarget(_ path: String) -> String? {
        try? SystemCalls.linkTarget(root + path)
    }

    /// Where sysfs describes this device; nil in a container that hides sysfs.
    func name(of number: DeviceNumber) -> String? {
        linkTarget("/sys/dev/block/\(number)").map { String($0.lastPathComponent) }
    }
}

extension StringProtocol {
    var trimmed: SubSequence {
        let isBlank: (Character) -> Bool = { $0.isWhitespace || $0 == "\0" }
        guard let first = firstIndex(where: { !isBlank($0) }),
            let last = lastIndex(where: { !isBlank($0) })
        else { return self[endIndex...] }
        return self[first...last]
    }

    var lastPathComponent: SubSequence {
        guard let slash = lastIndex(of: "/") else { return self[...] }
        return self[index(after: slash)...]
    }
}
