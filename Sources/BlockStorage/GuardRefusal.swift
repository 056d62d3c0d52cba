public import SystemPackage

/// Why a guard held a job back. Nothing was written.
///
/// There is no general way around a guard: the few that may be passed name the option of their
/// own that does it. A target in use has none.
public enum GuardRefusal: Error, Equatable, Sendable {
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

extension GuardRefusal: CustomStringConvertible {
    /// What is in the way, and how to go on.
    public var description: String {
        switch self {
        case .sourceIsTarget(let source, let target):
            "source \(source) and target \(target) are the same storage. Name another target."
        case .overlaps(let source, let target, let how):
            "source \(source) and target \(target) overlap: \(how). Writing the target would "
                + "change the source. Name another target."
        case .targetInUse(let target, let uses):
            "target \(target) is in use: \(list(uses)). No option overrides "
                + "this: \(remedies(uses)), then try again."
        case .sourceInUse(let source, let uses):
            "source \(source) is in use: \(list(uses)). A copy taken now may mix data "
                + "from different times: \(remedies(uses)), then try again."
        case .readOnlyTarget(let target, let reason):
            "target \(target) is read-only: \(reason). Make it writable, or name another target."
        case .targetTooSmall(let target, let targetSize, let sourceSize):
            "target \(target) is too small: it holds \(targetSize) bytes, the source "
                + "\(sourceSize), \(sourceSize - targetSize) more. Choose a larger target, or make "
                + "this one larger."
        case .targetLarger(let target, let targetSize, let sourceSize):
            "target \(target) is larger than the source: \(targetSize) bytes against "
                + "\(sourceSize). Check that it is the one you mean, then use --allow-larger; "
                + "the last \(targetSize - sourceSize) bytes will stay as they are."
        case .carriesSignature(let target, let storage, let signatures):
            "target \(target) (\(storage)) carries data: \(list(signatures)). Check that it is "
                + "the one you mean, then pass --overwrite to destroy it."
        case .holdsData(let target, let storage, let found):
            "target \(target) (\(storage)) is not empty: \(found). Check that it is the one you "
                + "mean, and not the source, then pass --overwrite to destroy what it holds."
        case .alreadyExistsForCreate(let target):
            "target \(target) exists already. Leave --create out to write to what is there."
        case .missingWithoutCreate(let target):
            "target \(target) does not exist. Check the name, or use --create to make a new "
                + "image file."
        case .underDev(let target):
            "target \(target): there is no such device, and no file is ever made under /dev. "
                + "Check the name; `lsblk` lists the disks."
        case .lockedByOther(let path, let holder):
            "\(path) is locked by \(holder?.description ?? "another process"): another mirror, "
                + "a virtual machine or udev uses it. Wait for it or stop it, then run again."
        case .openByProcess(let target, let processes):
            "target \(target) is open for writing in \(list(processes)). Stop "
                + "\(processes.count == 1 ? "it" : "them"), then run again."
        case .unverifiable(let path, let missing):
            "\(path): it cannot be told what it is and who else uses it, because \(missing) cannot "
                + "be read. Run as root, with /proc and /sys mounted."
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
