import Glibc
internal import Synchronization
internal import SystemPackage

/// The page caches between a program and the storage of an open disk or file: its own, and those of
/// the files below loop devices, as far down as they can be followed.
///
/// A cache that can't bring a write to the storage keeps the page as if it had, and the kernel says
/// so once to each open file description (errseq, since Linux 4.13): whoever asks by a descriptor
/// that others have used may not be told. The descriptors here serve no other purpose.
final class PageCaches: Sendable {
    /// From the top down: what the upper one writes goes to the cache of the lower one.
    private let files: [Descriptor]
    /// Why something that was written never came to the storage; 0: none is known.
    private let loss = Atomic<CInt>(0)

    /// - Parameter descriptor: the disk or file; its caches are watched from now on.
    init(of descriptor: Descriptor, _ node: NodeIdentity, _ view: SystemView) {
        // Where it can't be opened once more, its own descriptor has to do.
        let own = (try? SystemCalls.reopen(descriptor, O_RDONLY | O_NONBLOCK)) ?? descriptor
        files = [own] + view.filesBelow(node)
    }

    /// Brings what anything has written to stable storage.
    ///
    /// - Throws: why something that was written since these caches are watched is lost; each time,
    ///   once it is known.
    func flush() throws(Errno) {
        for file in files {
            let code = Self.flush(file)
            if code != 0 { loss.store(code, ordering: .relaxed) }
        }
        let code = loss.load(ordering: .relaxed)
        guard code == 0 else { throw Errno(rawValue: code) }
    }

    /// Makes what is read next come from the storage. A page that was lost before is read as what
    /// the storage has in its place.
    func readAnew() {
        for file in files {
            _ = Self.flush(file)
            SystemCalls.dropCache(of: file)
        }
    }

    /// 0, or the errno of a loss. Where there is nothing to flush, on a read-only filesystem for
    /// one, the kernel says the same each time, and a loss only once.
    private static func flush(_ file: Descriptor) -> CInt {
        let code = sync(file)
        let isInability = (code == EINVAL || code == EOPNOTSUPP) && sync(file) == code
        return isInability ? 0 : code
    }

    private static func sync(_ file: Descriptor) -> CInt {
        do throws(Errno) { try SystemCalls.sync(file) } catch { return error.rawValue }
        return 0
    }
}

extension SystemView {
    /// The files below the loop devices that a disk or file stands on, opened, from the top down.
    /// What can't be opened, in a container for one, is left out with all below it.
    fileprivate func filesBelow(_ node: NodeIdentity) -> [Descriptor] {
        var files: [Descriptor] = []
        var visited: Set<DeviceNumber> = []
        var pending = [node]
        while let node = pending.popLast() {
            // A file lies on the disk of its filesystem.
            let number =
                switch node {
                case .block(let number): number
                case .file(let device, _), .other(let device, _): device
                }
            guard visited.insert(number).inserted, let disk = diskDirectory(of: number) else {
                continue
            }
            pending += slaves(of: disk).map { .block($0) }
            guard let backing = loopFile(disk: disk) else { continue }
            pending.append(backing.identity)
            if case .file = backing.identity,
                let file = try? SystemCalls.open(
                    backing.path, O_RDONLY | O_NONBLOCK | O_NOCTTY),
                (try? SystemCalls.status(of: file))?.identity == backing.identity
            {
                files.append(file)
            }
        }
        return files
    }

    /// What a disk of device mapper or md stands on, given its directory.
    func slaves(of disk: String) -> [DeviceNumber] {
        entries(disk + "/slaves").compactMap {
            value("/sys/class/block/\($0)/dev").flatMap { DeviceNumber($0) }
        }
    }
}
