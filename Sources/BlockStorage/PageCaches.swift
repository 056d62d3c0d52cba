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
    /// What can't be followed further down, and why, as a sentence; nil: nothing.
    let deafness: String?

    /// - Parameter descriptor: the disk or file; its caches are watched from now on.
    init(of descriptor: Descriptor, _ node: NodeIdentity, _ access: Access, _ view: SystemView) {
        // Where it can't be opened once more, its own descriptor has to do.
        own = (try? SystemCalls.reopen(descriptor, O_RDONLY | O_NONBLOCK)) ?? descriptor
        isWritten = access == .readWrite
        var walk = CacheWalk(view: view)
        walk.descend(from: own, node)
        below = walk.files
        deafness = walk.deafness
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
    /// The first place from where it can't be followed.
    private(set) var deafness: String?
    private var visited: Set<DeviceNumber> = []

    init(view: SystemView) { self.view = view }

    /// - Parameter file: the disk or file, open.
    mutating func descend(from file: Descriptor, _ node: NodeIdentity) {
        switch node {
        case .block(let number): descend(below: number)
        case .file(let device, _), .other(let device, _):
            if view.diskDirectory(of: device) != nil {
                descend(below: device)
            } else if device.isAnonymous, visited.insert(device).inserted,
                let mount = view.mount(of: file)
            {
                descend(from: file, on: mount)
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
        } else if view.number(disk + "/loop/dio") == 1, case .file(let device, _)? = backing,
            view.diskDirectory(of: device) != nil
        {
            // With direct I/O it has no cache, but what it lies on may have one.
            descend(below: device)
        } else {
            note("\(path), which is below a loop device, can't be opened")
        }
    }

    /// Follows a file whose device number is that of no disk.
    private mutating func descend(from file: Descriptor, on mount: Mount) {
        if let overlay = Overlay(mount) {
            if let (stored, status) = view.storedFile(of: file, in: overlay) {
                // Its cache is none of the overlay's file, nor is its flush, always.
                files.append(stored)
                descend(from: stored, status.identity)
            } else if overlay.hasMetacopies {
                note("the overlay at \(mount.point) has metacopies, whose data can't be followed")
            } else if overlay.isVolatile {
                note("the overlay at \(mount.point) is mounted volatile, and flushes nothing")
            } else {
                note("the layers of the overlay at \(mount.point) can't be seen from here")
            }
        } else if ["btrfs", "bcachefs"].contains(mount.filesystem) {
            if case .block(let number)? = view.identify(mount.source) {
                descend(below: number)
            } else {
                note("\(mount.source), which \(mount.point) is on, can't be found")
            }
        }
    }

    private mutating func note(_ what: String) {
        deafness = deafness ?? "\(what): what is lost below it is not noticed"
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
