import Testing

@testable import BlockStorage

/// Who writes to disks that can't be had here.
@Suite struct DiskUsersTests {
    /// A boot disk as installers make it: firmware's partition, `/boot`, and volumes.
    private func bootDisk() throws -> Fixture {
        let machine = try Fixture()
        try machine.device("sda", 8, 0)
        try machine.device("sda1", 8, 1, on: "sda", start: 2048, sectors: 2048)
        try machine.device("sda2", 8, 2, on: "sda", start: 4096, sectors: 4096)
        try machine.device(
            "sda3", 8, 3, on: "sda", start: 8192, sectors: 65536,
            holders: ["dm-0", "dm-1", "dm-2"])
        for (minor, name) in ["root", "swap", "spare"].enumerated() {
            try machine.device(
                "dm-\(minor)", 252, UInt32(minor), slaves: ["sda3"],
                attributes: ["dm/name": "vg-" + name, "dm/uuid": "LVM-\(minor)"])
        }
        try machine.text("/proc/swaps", "Filename\tType\n/dev/dm-1 partition 1024 0 -2")
        try machine.mounts(
            "1 0 252:0 / / rw - xfs /dev/mapper/vg-root rw",
            "2 1 8:2 / /boot rw - ext4 /dev/sda2 rw", "3 2 8:1 / /boot/efi rw - vfat /dev/sda1 rw")
        return machine
    }

    private func users(_ machine: Fixture, of path: String) throws -> DiskUsers {
        try #require(try DiskUsers.find(on: path, machine.view))
    }

    @Test func `filesystems, swap space and idle volumes of a boot disk`() throws {
        let users = try users(bootDisk(), of: "/dev/sda")
        #expect(Set(users.filesystems.map(\.description)) == ["xfs at /", "ext4 at /boot"])
        #expect(users.unfreezable.map(\.description) == ["vfat at /boot/efi"])
        #expect(users.swaps == ["/dev/dm-1"])
        #expect(users.idleHolders.map(\.device) == ["/dev/mapper/vg-spare"])
        #expect(users.idleHolders.map(\.on) == ["/dev/sda3"])
        #expect(users.unseen.isEmpty && users.exports.isEmpty && users.writers.isEmpty)
    }

    @Test func `a partition has nothing of its neighbours`() throws {
        let users = try users(bootDisk(), of: "/dev/sda2")
        #expect(users.filesystems.map(\.description) == ["ext4 at /boot"])
        #expect(users.unfreezable.isEmpty && users.swaps.isEmpty && users.idleHolders.isEmpty)
    }

    @Test func `what can't be frozen and reads alone is left out`() throws {
        let machine = try bootDisk()
        try machine.mounts("3 2 8:1 / /boot/efi rw - vfat /dev/sda1 ro,utf8")
        #expect(try users(machine, of: "/dev/sda1").unfreezable.isEmpty)
    }

    @Test func `an array whose partitions are mounted is not idle`() throws {
        let machine = try Fixture()
        try machine.device("sdb", 8, 16, holders: ["md0"])
        try machine.device("md0", 9, 0, slaves: ["sdb"])
        try machine.device("md0p1", 259, 1, on: "md0", start: 2048, sectors: 4096)
        try machine.mounts("1 0 259:1 / /data rw - ext4 /dev/md0p1 rw")
        let found = try users(machine, of: "/dev/sdb")
        #expect(found.filesystems.map(\.description) == ["ext4 at /data"])
        #expect(found.idleHolders.isEmpty)
        try machine.mounts("")
        #expect(try users(machine, of: "/dev/sdb").idleHolders.map(\.device) == ["/dev/md0"])
    }

    /// Three storeys, named so that no order by names gives the right one.
    @Test func `each filesystem comes before those that it stands on`() throws {
        let machine = try Fixture()
        try machine.device("sdb", 8, 16)
        let disk = DeviceNumber(major: 8, minor: 16)
        let middle = DeviceNumber(major: 7, minor: 1)
        _ = try machine.loop("loop1", 1, over: .file(device: disk, inode: 5), path: "/a/m")
        _ = try machine.loop("loop0", 0, over: .file(device: middle, inode: 6), path: "/b/t")
        _ = try machine.loop("loop2", 2, over: .file(device: disk, inode: 7), path: "/a/v")
        try machine.mounts(
            "1 0 8:16 / /a rw - ext4 /dev/sdb rw", "2 1 7:1 / /b rw - xfs /dev/loop1 rw",
            "3 1 7:0 / /c rw - ext4 /dev/loop0 rw", "4 1 7:2 / /d rw - vfat /dev/loop2 rw")
        let found = try users(machine, of: "/dev/sdb")
        #expect(found.filesystems.map(\.points) == [["/c"], ["/b"], ["/a"]])
        // What can't be frozen in an image file is held by the filesystem that has the file.
        #expect(found.unfreezable.isEmpty)
    }

    @Test func `filesystems without a mount that is seen`() throws {
        let machine = try Fixture()
        try machine.device("sdb", 8, 16)
        try machine.device("sdc", 8, 32)
        try machine.text("/sys/fs/xfs/sdb/log", "")
        try machine.text("/sys/fs/btrfs/1234/devices/sdc", "")
        #expect(try users(machine, of: "/dev/sdb").unseen.map(\.type) == ["xfs"])
        #expect(try users(machine, of: "/dev/sdc").unseen.map(\.type) == ["btrfs"])
    }

    @Test func `no disk, and nothing to look at`() throws {
        let machine = try bootDisk()
        #expect(try DiskUsers.find(on: "/dev/sdz", machine.view) == nil)
        try machine.hide("/sys/class/block")
        #expect(throws: DiskUsers.Blindness.self) {
            try DiskUsers.find(on: "/dev/sda", machine.view)
        }
    }
}
