import Glibc
internal import SystemPackage

/// Advisory locks for the length of a run.
///
/// Programs that lock a disk's whole node keep udev from probing it half written, and keep out of
/// each other's way; two mirrors onto one image keep apart the same way. `ImageLocking` has the
/// locks by which virtual machines do.
enum StorageLock {
    /// udev holds its shared lock for as long as it probes, which is short: wait that out.
    private static let momentMilliseconds: UInt32 = 2000

    /// An image is locked against writers that lock it too. A disk needs no lock to be read: its
    /// exclusive claim is stronger.
    static func lockSource(
        _ source: OpenedObject, view: SystemView, _ landing: inout Landing
    ) throws(StorageError) -> Descriptor? {
        guard source.kind == .image, !isMadeOfRecordLocks(on: source) else { return nil }
        return try lock(source.descriptor, LOCK_SH, source.path, view, &landing)
    }

    static func lockTarget(
        _ target: OpenedObject, view: SystemView, _ landing: inout Landing
    ) throws(StorageError) -> Descriptor? {
        switch target.kind {
        case .image:
            guard !isMadeOfRecordLocks(on: target) else { return nil }
            return try lock(target.descriptor, LOCK_EX, target.path, view, &landing)
        case .disk:
            let node = wholeDiskNode(of: target, view) ?? target.descriptor
            return try lock(node, LOCK_EX, target.path, view, &landing)
        }
    }

    /// Where flock locks the whole file with a record lock, it would contradict the image locks:
    /// QEMU's, and on another descriptor our own. Those keep mirrors apart as well.
    private static func isMadeOfRecordLocks(on image: OpenedObject) -> Bool {
        guard let magic = try? SystemCalls.filesystemMagic(image.descriptor) else { return false }
        return Filesystem(magic: magic).makesFileLocksOfRecordLocks
    }

    /// The lock is on the node's inode, so it must be the node that udev uses, found by number
    /// and checked; nil in a container that has no such node.
    private static func wholeDiskNode(of target: OpenedObject, _ view: SystemView) -> Descriptor? {
        guard let disk = view.diskDirectory(of: target.status.special),
            let number = view.value(disk + "/dev").flatMap({ DeviceNumber($0) }),
            let uevent = view.text(disk + "/uevent"),
            let line = uevent.split(separator: "\n").first(where: { $0.hasPrefix("DEVNAME=") }),
            let node = try? SystemCalls.open(
                FilePath("/dev/" + line.dropFirst("DEVNAME=".count)), O_RDONLY | O_NONBLOCK),
            let status = try? SystemCalls.status(of: node),
            status.identity == .block(number)
        else { return nil }
        return node
    }

    private static func lock(
        _ descriptor: Descriptor, _ operation: CInt, _ path: FilePath, _ view: SystemView,
        _ landing: inout Landing
    ) throws(StorageError) -> Descriptor {
        let status = try? SystemCalls.status(of: descriptor)
        let holder = { status.flatMap { LockHolders.ofFlock(on: $0, view) } }
        do throws(Errno) {
            let isLocked = try landing.wait(
                for: path, moment: momentMilliseconds,
                isOrphaned: { holder().map { !view.isAlive($0.pid) } ?? false },
                until: { () throws(Errno) in try SystemCalls.tryLock(descriptor, operation) })
            if isLocked { return descriptor }
        } catch {
            // Some network filesystems know no locks; a run there is no less safe than without.
            if error == .notSupported || error == .noLocks { return descriptor }
            throw .systemCall(call: "flock", path: path, code: error)
        }
        throw .refused(.lockedByOther(path: path, holder: holder()))
    }
}
