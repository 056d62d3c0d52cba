package import BlockStorage
internal import CLinux
internal import Glibc
package import SystemPackage

/// What writes to a disk, and how that is to be held still. Nothing is opened or frozen by making
/// it.
package struct FreezePlan: Sendable {
    /// In the order of freezing: what stands on a file of another one comes before that.
    package let filesystems: [MountedFilesystem]
    /// Who writes the disk and is not held back by freezing.
    package let unheld: [UnheldWriter]
    /// What the user should know before, in sentences.
    package let warnings: [String]

    /// - Parameters:
    ///   - disk: a block device.
    ///   - ours: files that are written while the filesystems are frozen. Those that this process
    ///     has open for writing are found by themselves.
    /// - Throws: `.notABlockDevice`, `.unseen`, `.oursWouldHang`.
    package static func make(
        for disk: FilePath, ours: [FilePath]
    ) throws(FreezeError) -> FreezePlan {
        let found: DiskUsers?
        do throws(DiskUsers.Blindness) { found = try DiskUsers.find(on: disk.string) } catch {
            throw .unseen(disk, missing: error.missing)
        }
        guard let users = found else { throw .notABlockDevice(disk) }
        let plan = FreezePlan(users)
        try plan.requireOursElsewhere(ours)
        return plan
    }

    private init(_ users: DiskUsers) {
        filesystems = users.filesystems.filter { !$0.isReadOnly }
        unheld = Self.unheld(users)
        let ownProgram = SystemView.live.filesystems(writtenBy: "/proc/self/exe")
        warnings = filesystems.filter { ownProgram.contains($0.device) }.map {
            "\($0) has this program itself: what it reads of itself meanwhile is in memory, or is "
                + "read from there"
        }
    }

    private static func unheld(_ users: DiskUsers) -> [UnheldWriter] {
        users.swaps.map { .swap($0) } + users.unfreezable.map { .unfreezable($0) }
            + users.writers.map { .process("\($0)") }
            + users.idleHolders.map { .unmountedHolder($0.device, on: $0.on) }
            + users.unseen.map { .unseenMount(device: $0.device, type: $0.type) }
            + users.exports.map { .export($0.device, by: $0.by) }
    }

    /// Has the filesystems write what they hold back, so that freezing them takes less time. It may
    /// wait for their disks. What fails here fails when they are frozen as well.
    package func settle() {
        for filesystem in filesystems {
            if let opened = filesystem.open() { _ = ringmirror_sync_filesystem(opened.raw) }
        }
    }

    /// Refuses to freeze what this process writes while it is frozen.
    private func requireOursElsewhere(_ ours: [FilePath]) throws(FreezeError) {
        let frozen = Dictionary(
            filesystems.map { ($0.device, $0) }, uniquingKeysWith: { one, _ in one })
        guard !frozen.isEmpty else { return }
        for path in ours + Self.openForWriting() {
            for device in SystemView.live.filesystems(writtenBy: path) {
                if let filesystem = frozen[device] {
                    throw .oursWouldHang(path: path, filesystem: filesystem)
                }
            }
        }
    }

    /// The regular files that this process has open for writing, by their places in proc: also
    /// those without a name.
    private static func openForWriting() -> [FilePath] {
        let root = "/proc/self/fd"
        let numbers = ((try? SystemCalls.entries(of: root)) ?? []).compactMap { CInt($0) }
        return numbers.compactMap { number in
            let flags = fcntl(number, F_GETFL)
            guard flags >= 0, flags & O_ACCMODE != O_RDONLY, flags & O_PATH == 0,
                SystemCalls.isRegular(number)
            else { return nil }
            return FilePath("\(root)/\(number)")
        }
    }
}
