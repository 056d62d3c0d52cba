public import SystemPackage

/// Why a guard held a job back. Nothing was written.
///
/// There is no general way around a guard: the remedy of the few that may be passed names the one
/// that does it. A target in use has none.
public enum GuardRefusal: Equatable, Sendable {
    case sourceIsTarget(source: FilePath, target: FilePath)
    /// Not the same, yet writing the one changes the other.
    case overlaps(source: FilePath, target: FilePath, how: String)
    case targetInUse(target: FilePath, uses: [Use])
    case sourceInUse(source: FilePath, uses: [Use])
    case readOnlyTarget(target: FilePath, reason: String)
    case targetTooSmall(target: FilePath, targetSize: Int64, sourceSize: Int64)
    case targetLarger(target: FilePath, targetSize: Int64, sourceSize: Int64)
    /// It carries a filesystem, partition table or the like. `storage` says which disk or file it
    /// is: model, serial, size, time.
    case carriesSignature(target: FilePath, storage: String, signatures: [Signature])
    /// It carries nothing that is known, and is not zero. `storage` as above.
    case holdsData(target: FilePath, storage: String, found: DataInTheWay)
    case alreadyExistsForCreate(target: FilePath)
    case missingWithoutCreate(target: FilePath)
    /// A file was about to be made among the device nodes.
    case underDev(target: FilePath)
    /// Somebody holds a lock: another ringmirror, udev, a virtual machine.
    case lockedByOther(path: FilePath, holder: ProcessName?)
    case openByProcess(target: FilePath, processes: [ProcessName])
    /// A guard could not see what it has to see, so it cannot say that writing is safe.
    case unverifiable(path: FilePath, missing: String)
}

/// One way in which storage is in use.
public enum Use: Hashable, Sendable {
    case mounted(device: String, at: String)
    case swap(String)
    /// A device of device mapper, md or the like stands on it.
    case heldBy(device: String, holder: String)
    /// A loop device stands on it.
    case loop(device: String, over: String)
    /// A filesystem of several disks, mounted, counts it as a member.
    case filesystemMember(device: String, filesystem: String)
    case openForWriting(ProcessName)
    /// The kernel says that somebody has it open or mapped for writing, and no process shows it.
    case openForWritingUnseen(path: String)
    /// The kernel offers it over a network.
    case exported(device: String, by: String)
    /// A virtual machine or a program of QEMU's has marked it as in use.
    case imageLock(ImageLock)
    /// The kernel says that somebody has claimed it, not who: `by` are those who have it open.
    case claimed(device: String, by: [ProcessName])
}

/// A process, by what an engineer needs to find it.
public struct ProcessName: Hashable, Sendable, CustomStringConvertible {
    public let pid: Int
    public let command: String

    public init(pid: Int, command: String) {
        self.pid = pid
        self.command = command
    }

    public var description: String { "process \(pid) (\(command))" }
}

/// A place of a target that is not known to be zero, in bytes from its beginning.
public enum DataInTheWay: Hashable, Sendable, CustomStringConvertible {
    case nonzero(offset: Int64)
    /// What is there cannot be told.
    case unreadable(offset: Int64, Errno)

    public var description: String {
        switch self {
        case .nonzero(let offset): "data at offset \(offset)"
        case .unreadable(let offset, let code): "offset \(offset) can't be read (\(code))"
        }
    }
}

/// Something recognisable that a target carries and a mirror would destroy.
public struct Signature: Hashable, Sendable, CustomStringConvertible {
    /// As mkfs and wipefs call it: ext4, xfs, swap, gpt, LVM2_member.
    public let type: String
    public let label: String?
    public let uuid: String?
    /// Where its magic number lies, in bytes, where that is known.
    public let offset: Int64?

    public init(type: String, label: String? = nil, uuid: String? = nil, offset: Int64? = nil) {
        self.type = type
        self.label = label
        self.uuid = uuid
        self.offset = offset
    }

    public var description: String {
        var text = type
        if let label { text += " \"\(label)\"" }
        if let uuid { text += " (\(uuid))" }
        if let offset { text += " at offset \(offset)" }
        return text
    }
}

extension Use: CustomStringConvertible {
    public var description: String {
        switch self {
        case .mounted(let device, let point): "\(device) is mounted at \(point)"
        case .swap(let path): "\(path) is active swap space"
        case .heldBy(let device, let holder): "\(holder) stands on \(device)"
        case .loop(let device, let over): "loop device \(device) stands on \(over)"
        case .filesystemMember(let device, let filesystem):
            "\(device) is a member of the mounted filesystem \(filesystem)"
        case .openForWriting(let process): "\(process) has it open for writing"
        case .openForWritingUnseen(let path):
            "\(path) is open for writing in a process that cannot be seen from here"
        case .exported(let device, let exporter): "\(device) is exported by \(exporter)"
        case .imageLock(let lock): lock.description
        case .claimed(let device, let openers):
            openers.isEmpty
                ? "something holds \(device) exclusively"
                : "\(device) is held exclusively, probably by "
                    + openers.map(\.description).joined(separator: ", ")
        }
    }

    /// How an engineer ends this use.
    var remedy: String {
        switch self {
        case .mounted(_, let point): "umount \(point)"
        case .swap(let path): "swapoff \(path)"
        case .heldBy(_, let holder):
            "take \(holder) down (dmsetup remove, vgchange -an, mdadm --stop)"
        case .loop(let device, _): "losetup -d \(device)"
        case .filesystemMember: "unmount that filesystem"
        case .openForWriting(let process): "end process \(process.pid)"
        case .openForWritingUnseen:
            "find that process as root, outside of the container, and end it"
        case .exported(_, let exporter): "stop the export in \(exporter)"
        case .imageLock(let lock): lock.remedy
        case .claimed(let device, _): "find the holder (lsblk, fuser -v \(device)) and stop it"
        }
    }
}

extension GuardRefusal: DescribedError {
    public var category: ErrorCategory { .refused }

    public var code: ErrorCode {
        switch self {
        case .sourceIsTarget: .sameStorage
        case .overlaps: .overlap
        case .targetInUse: .targetInUse
        case .sourceInUse: .sourceInUse
        case .readOnlyTarget: .readOnlyTarget
        case .targetTooSmall: .targetTooSmall
        case .targetLarger: .targetLarger
        case .carriesSignature: .carriesSignature
        case .holdsData: .holdsData
        case .alreadyExistsForCreate: .targetExists
        case .missingWithoutCreate: .targetMissing
        case .underDev: .underDev
        case .lockedByOther: .locked
        case .openByProcess: .openElsewhere
        case .unverifiable: .unverifiable
        }
    }

    public var path: FilePath? {
        switch self {
        case .sourceIsTarget(_, let target), .overlaps(_, let target, _),
            .targetInUse(let target, _), .readOnlyTarget(let target, _),
            .targetTooSmall(let target, _, _), .targetLarger(let target, _, _),
            .carriesSignature(let target, _, _), .holdsData(let target, _, _),
            .alreadyExistsForCreate(let target),
            .missingWithoutCreate(let target), .underDev(let target),
            .openByProcess(let target, _):
            target
        case .sourceInUse(let path, _), .lockedByOther(let path, _), .unverifiable(let path, _):
            path
        }
    }

    public var offset: Int64? {
        switch self {
        case .holdsData(_, _, .nonzero(let offset)), .holdsData(_, _, .unreadable(let offset, _)):
            offset
        case .carriesSignature(_, _, let signatures): signatures.first?.offset
        default: nil
        }
    }

    public var problem: String {
        switch self {
        case .sourceIsTarget(let source, let target):
            "source \(source) and target \(target) are the same storage"
        case .overlaps(let source, let target, let how):
            "source \(source) and target \(target) overlap: \(how). Writing the target would "
                + "change the source"
        case .targetInUse(let target, let uses): "target \(target) is in use: \(list(uses))"
        case .sourceInUse(let source, let uses): "source \(source) is in use: \(list(uses))"
        case .readOnlyTarget(let target, let reason): "target \(target) is read-only: \(reason)"
        case .targetTooSmall(let target, let targetSize, let sourceSize):
            "target \(target) is too small: it holds \(targetSize) bytes, the source "
                + "\(sourceSize), \(sourceSize - targetSize) more"
        case .targetLarger(let target, let targetSize, let sourceSize):
            "target \(target) is larger than the source: \(targetSize) bytes against \(sourceSize)"
        case .carriesSignature(let target, let storage, let signatures):
            "target \(target) (\(storage)) carries data: \(list(signatures))"
        case .holdsData(let target, let storage, let found):
            "target \(target) (\(storage)) is not empty: \(found)"
        case .alreadyExistsForCreate(let target): "target \(target) exists already"
        case .missingWithoutCreate(let target): "target \(target) does not exist"
        case .underDev(let target):
            "target \(target): there is no such device, and no file is ever made under /dev"
        case .lockedByOther(let path, let holder):
            "\(path) is locked by \(holder?.description ?? "another process"): another mirror, "
                + "a virtual machine or udev uses it"
        case .openByProcess(let target, let processes):
            "target \(target) is open for writing in \(list(processes))"
        case .unverifiable(let path, let missing):
            "\(path): it cannot be told what it is and who else uses it, because \(missing) cannot "
                + "be read"
        }
    }

    public var remedy: Remedy {
        switch self {
        case .sourceIsTarget, .overlaps: "Name another target."
        case .targetInUse(_, let uses):
            "No option overrides this: \(remedies(uses)), then try again."
        case .sourceInUse(_, let uses):
            "A copy taken now may mix data from different times: \(remedies(uses)), then try "
                + "again."
        case .readOnlyTarget: "Make it writable, or name another target."
        case .targetTooSmall: "Choose a larger target, or make this one larger."
        case .targetLarger(_, let targetSize, let sourceSize):
            "Check that it is the one you mean, then \(.allowLarger); the last "
                + "\(targetSize - sourceSize) bytes will stay as they are."
        case .carriesSignature:
            "Check that it is the one you mean, then \(.overwrite)."
        case .holdsData:
            "Check that it is the one you mean, and not the source, then \(.overwrite)."
        case .alreadyExistsForCreate: "\(.openExisting)."
        case .missingWithoutCreate: "Check the name, or \(.create)."
        case .underDev: "Check the name; `lsblk` lists the disks."
        case .lockedByOther: "Wait for it or stop it, then run again."
        case .openByProcess(_, let processes):
            "Stop \(processes.count == 1 ? "it" : "them"), then run again."
        case .unverifiable: "Run as root, with /proc and /sys mounted."
        }
    }

    private func list(_ things: [some CustomStringConvertible]) -> String {
        things.map(\.description).joined(separator: "; ")
    }

    private func remedies(_ uses: [Use]) -> String {
        var seen: [String] = []
        for use in uses where !seen.contains(use.remedy) { seen.append(use.remedy) }
        return seen.joined(separator: ", ")
    }
}
