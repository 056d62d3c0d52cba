import Glibc
internal import Synchronization
internal import SystemPackage

/// The page caches between a program and the storage of an open disk or file: its own, and those of
/// what is below loop devices, as far down as it can be followed.
///
/// A cache that can't bring a write to the storage keeps the page as if it had, and the kernel says
/// so once to each open file description (errseq, since Linux 4.13): whoever asks by a descriptor
/// that others have used may not be told. The descriptors here serve no other purpose.
final class PageCaches: Sendable {
    private let own: Descriptor
    /// From the top down: what is written to one goes to the cache of the next.
    private let below: [Descriptor]
    /// Whether this program writes through them.
    private let isWritten: Bool
    /// Why something that was written never came to the storage; 0: none is known.
    private let loss = Atomic<CInt>(0)
    /// What is below a loop device and can't be opened, so that its losses are not heard of.
    private let unheard: FilePath?

    /// - Parameter descriptor: the disk or file; its caches are watched from now on.
    init(of descriptor: Descriptor, _ node: NodeIdentity, _ access: Access, _ view: SystemView) {
        // Where it can't be opened once more, its own descriptor has to do.
        own = (try? SystemCalls.reopen(descriptor, O_RDONLY | O_NONBLOCK)) ?? descriptor
        isWritten = access == .readWrite
        var walk = CacheWalk(view: view)
        walk.descend(from: own, node)
        below = walk.files
        unheard = walk.unheard
    }

    /// The same as a warning.
    var deafness: String? {
        unheard.map {
            "\($0), which is below a loop device, can't be opened: what its page cache loses is "
                + "not noticed"
        }
    }

    /// Brings what anything has written to stable storage.
    ///
    /// - Throws: why something that was written since these caches are watched, or were last read
    ///   anew, is lost; each time, once it is known.
    func flush() throws(Errno) {
        for file in [own] + below {
            let code = flush(file)
            if code != 0 { loss.store(code, ordering: .relaxed) }
        }
        let code = loss.load(ordering: .relaxed)
        guard code == 0 else { throw Errno(rawValue: code) }
    }

    /// Makes what is read next come from the storage. A page that was lost before is read as what
    /// the storage has in its place, and its loss is of the past.
    ///
    /// - Parameter dropsOwn: whether its own cache is read through at all. Where something is lost,
    ///   others may see in it what nobody has any more.
    func readAnew(dropsOwn: Bool) {
        var hasLosses = false
        // On its way to the storage is enough for reading: nothing has to be flushed there.
        for file in [own] + below where !SystemCalls.writeBack(file) { hasLosses = true }
        if dropsOwn || hasLosses { SystemCalls.dropCache(of: own) }
        for file in below { SystemCalls.dropCache(of: file) }
    }

    /// 0, or the errno of a loss.
    private func flush(_ file: Descriptor) -> CInt {
        let code = Self.sync(file)
        guard code != 0, tellsInability(code), Self.sync(file) == code else { return code }
        return 0
    }

    /// Whether an error says that there is nothing to flush, if it comes each time: a loss comes
    /// once. What was only read need not be flushed: a read-only filesystem can't, nor one that was
    /// made so by an error, and some servers of files won't.
    private func tellsInability(_ code: CInt) -> Bool {
        if code == EINVAL || code == EOPNOTSUPP { return true }
        let refusals = [
            EROFS, EPERM, EACCES, EBADF, ENOTTY, ENOSYS, EINTR, EAGAIN, EBUSY, ENODEV,
        ]
        return !isWritten && refusals.contains(code)
    }

    private static func sync(_ file: Descriptor) -> CInt {
        do throws(Errno) { try SystemCalls.sync(file) } catch { return error.rawValue }
        return 0
    }
}

/// Follows a disk or file down to what it is stored on, and opens what has a page cache on the way.
private struct CacheWalk {
    let view: SystemView
    private(set) var files: [Descriptor] = []
    private(set) var unheard: FilePath?
    private var visited: Set<DeviceNumber> = []

    init(view: SystemView) { self.view = view }

    /// - Parameter file: the disk or file, open.
    mutating func descend(from file: Descriptor, _ node: NodeIdentity) {
        switch node {
        case .block(let number): descend(below: number)
        case .file(let device, _), .other(let device, _):
            if view.diskDirectory(of: device) != nil {
                descend(below: device)
            } else if visited.insert(device).inserted {
                descend(belowMountOf: file)
            }
        }
    }

    private mutating func descend(below number: DeviceNumber) {
        guard visited.insert(number).inserted, let disk = view.diskDirectory(of: number) else {
            return
        }
        for slave in view.slaves(of: disk) { descend(below: slave) }
        guard let path = view.filePath(disk + "/loop/backing_file") else { return }
        let backing = view.loopFile(disk: disk)?.identity
        if let file = try? SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY),
            let identity = (try? SystemCalls.status(of: file))?.identity, identity == backing
        {
            files.append(file)
            descend(from: file, identity)
        } else if view.number(disk + "/loop/dio") != 1 {
            unheard = unheard ?? path
        } else {
            // With direct I/O it has no cache, but what it lies on may have one.
            switch backing {
            case .block(let number): descend(below: number)
            case .file(let device, _), .other(let device, _): descend(below: device)
            case nil: unheard = unheard ?? path
            }
        }
    }

    /// Of a filesystem whose files have a device number of no disk: what its mount names. That is
    /// the first disk of btrfs, and the layers of an overlay; nothing for what has no disk here.
    private mutating func descend(belowMountOf file: Descriptor) {
        let info = view.text("/proc/self/fdinfo/\(file.raw)") ?? ""
        guard
            let id = info.split(separator: "\n").first(where: { $0.hasPrefix("mnt_id:") })?
                .dropFirst("mnt_id:".count).trimmed,
            let table = view.text("/proc/self/mountinfo"),
            let line = table.split(separator: "\n").first(where: { $0.hasPrefix(id + " ") }),
            let mount = Mount(line: line)
        else { return }
        for path in mount.layers {
            guard let layer = try? SystemCalls.open(FilePath(path), O_PATH),
                let identity = (try? SystemCalls.status(of: layer))?.identity
            else { continue }
            descend(from: layer, identity)
        }
        if mount.source.hasPrefix("/"), case .block(let number) = view.identify(mount.source) {
            descend(below: number)
        }
    }
}

extension SystemView {
    /// What a disk of device mapper or md stands on, given its directory.
    func slaves(of disk: String) -> [DeviceNumber] {
        entries(disk + "/slaves").compactMap {
            value("/sys/class/block/\($0)/dev").flatMap { DeviceNumber($0) }
        }
    }
}
