import Glibc
internal import SystemPackage

/// Takes QEMU's image locks, and finds those of others.
///
/// A permission is a byte of the file: a shared record lock on byte 100 + n says that its holder
/// uses the permission, one on byte 200 + n that nobody else may. Whoever opens an image takes his
/// own locks first and then asks for those that contradict them, so that of two who come at once
/// at least one sees the other. QEMU does the same with disks.
enum ImageLocking {
    /// For what an image is opened.
    enum Role {
        /// To be read while it stays as it is.
        case source
        /// To be changed in place, as a virtual machine does it.
        case change
        /// To be made a copy of something else: until that is done, nobody should read it. QEMU's
        /// own mirror locks its target like this.
        case target

        var used: [ImageLock.Permission] {
            self == .source ? [.consistentRead] : [.write, .consistentRead, .resize]
        }

        var notShared: [ImageLock.Permission] {
            self == .target ? [.write, .consistentRead, .resize] : [.write, .resize]
        }
    }

    /// Takes the locks of a role.
    ///
    /// `qemu-img info` and the like hold theirs for a moment: that is waited out.
    ///
    /// - Returns: the descriptor with which the locks go; nil where the filesystem knows none.
    static func take(
        on object: OpenedObject, as role: Role, _ view: SystemView, _ landing: inout Landing
    ) throws(StorageError) -> Descriptor? {
        var outcome = Outcome.unknownHere
        _ = try landing.wait(
            for: object.path, isOrphaned: { outcome.isOrphaned(on: object, view) },
            until: { () throws(StorageError) in
                outcome = try attempt(on: object, as: role)
                return !outcome.isRefusal
            })
        switch outcome {
        case .taken(let descriptor): return descriptor
        case .unknownHere: return nil
        case .conflict(let conflict):
            let use = Use.imageLock(conflict.lock(on: object, view))
            throw .refused(
                role == .source
                    ? .sourceInUse(source: object.path, uses: [use])
                    : .targetInUse(target: object.path, uses: [use]))
        case .otherLock(let pid):
            throw .refused(
                .lockedByOther(path: object.path, holder: pid.map { view.processName($0) }))
        }
    }

    /// Who writes an image that is read all the same, without locks of our own; nil if nobody
    /// says so.
    static func use(of source: OpenedObject, _ view: SystemView) -> Use? {
        guard let conflict = try? conflict(on: source.descriptor, source, .source) else {
            return nil
        }
        return .imageLock(conflict.lock(on: source, view))
    }

    private enum Outcome {
        case taken(Descriptor)
        case unknownHere
        case conflict(Conflict)
        /// A record lock that has nothing to do with QEMU's, by somebody who works on the file.
        case otherLock(pid: Int?)

        /// Whether no process is seen that has the lock.
        func isOrphaned(on object: OpenedObject, _ view: SystemView) -> Bool {
            switch self {
            case .taken, .unknownHere: false
            case .conflict(let conflict): conflict.lock(on: object, view).holders.isEmpty
            // The kernel names the holder of a lock of its own kind alone, and those go at once.
            case .otherLock: false
            }
        }

        var isRefusal: Bool {
            switch self {
            case .taken, .unknownHere: false
            case .conflict, .otherLock: true
            }
        }
    }

    private struct Conflict {
        let permission: ImageLock.Permission
        let isInUse: Bool

        var byte: Int64 { (isInUse ? usedBase : notSharedBase) + permission.rawValue }

        func lock(on object: OpenedObject, _ view: SystemView) -> ImageLock {
            ImageLock(
                path: object.path, permission: permission, isInUse: isInUse,
                holders: LockHolders.ofRecordLock(
                    at: byte, on: object.status.identity, view))
        }
    }

    private static let usedBase: Int64 = 100
    private static let notSharedBase: Int64 = 200

    /// A descriptor of its own for each attempt: closing it gives the locks back, and the ring,
    /// which may outlive a killed process by a moment, never holds it.
    private static func attempt(
        on object: OpenedObject, as role: Role
    ) throws(StorageError) -> Outcome {
        do throws(Errno) {
            let descriptor = try SystemCalls.reopen(object.descriptor, O_RDONLY | O_NONBLOCK)
            for permission in role.used {
                guard try lock(descriptor, usedBase + permission.rawValue) else {
                    return otherLock(on: descriptor)
                }
            }
            for permission in role.notShared {
                guard try lock(descriptor, notSharedBase + permission.rawValue) else {
                    return otherLock(on: descriptor)
                }
            }
            if let conflict = try conflict(on: descriptor, object, role) {
                return .conflict(conflict)
            }
            // libvirt's daemon and other programs lock bytes of their own.
            if role != .source, object.kind == .image,
                case .held(let pid) = try SystemCalls.foreignRecordLock(descriptor)
            {
                return .otherLock(pid: pid)
            }
            return .taken(descriptor)
        } catch .noLocks {
            return .unknownHere
        } catch {
            // A kernel or filesystem without locks of open file descriptions.
            if error == .notSupported || error == .invalidArgument { return .unknownHere }
            throw .systemCall(call: "locking", path: object.path, code: error)
        }
    }

    private static func lock(_ descriptor: Descriptor, _ byte: Int64) throws(Errno) -> Bool {
        try SystemCalls.shareRecordLock(descriptor, at: byte)
    }

    private static func otherLock(on descriptor: Descriptor) -> Outcome {
        guard case .held(let pid) = try? SystemCalls.foreignRecordLock(descriptor) else {
            return .otherLock(pid: nil)
        }
        return .otherLock(pid: pid)
    }

    /// The lock of another that contradicts a role; of several, the one that says most.
    private static func conflict(
        on descriptor: Descriptor, _ object: OpenedObject, _ role: Role
    ) throws(Errno) -> Conflict? {
        for permission in [ImageLock.Permission.write, .consistentRead, .resize] {
            let candidates = [
                (role.notShared, Conflict(permission: permission, isInUse: true)),
                (role.used, Conflict(permission: permission, isInUse: false)),
            ]
            for (mine, conflict) in candidates where mine.contains(permission) {
                if try SystemCalls.isRecordLocked(descriptor, at: conflict.byte) {
                    return conflict
                }
            }
        }
        return nil
    }
}
