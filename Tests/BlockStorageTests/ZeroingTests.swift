import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Where a punched hole is taken for zeros.
@Suite struct ZeroingTests {
    @Test func `only filesystems that are known are punched`() {
        for filesystem in [Filesystem.ext4, .xfs, .btrfs, .tmpfs, .f2fs] {
            #expect(filesystem.punchesHoles == true)
        }
        for filesystem in [
            Filesystem.fuse, .nfs, .cifs, .smb2, .ninep, .overlay, .zfs, .ramfs,
            Filesystem(magic: 1),
        ] { #expect(filesystem.punchesHoles != true, "\(filesystem.name)") }
    }

    /// A loop device makes a hole in its file of the command to zero.
    @Test func `loops over files of servers are not punched`() throws {
        let file = NodeIdentity.file(device: DeviceNumber(major: 0, minor: 50), inode: 12)
        func answer(_ filesystem: Filesystem?, found: Bool = true) throws -> Bool? {
            let machine = try Fixture()
            _ = try machine.loop("loop0", 0, over: file, path: "/m/disk")
            try machine.device("dm-0", 252, 0, slaves: ["loop0"])
            try machine.device("sda", 8, 0)
            if found { machine.status("/m/disk", file) }
            machine.filesystem("/m/disk", filesystem)
            let view = machine.view
            #expect(view.loopsPunchHoles(under: DeviceNumber(major: 8, minor: 0)) == nil)
            let below = view.loopsPunchHoles(under: DeviceNumber(major: 7, minor: 0))
            #expect(view.loopsPunchHoles(under: DeviceNumber(major: 252, minor: 0)) == below)
            return below
        }
        #expect(try answer(.ext4) == true)
        #expect(try answer(.fuse) == false)
        #expect(try answer(.nfs) == false)
        #expect(try answer(nil) == false)
        #expect(try answer(.ext4, found: false) == false)
    }

    @Test(.enabled(if: LoopDevice.isAvailable))
    func `real loops are punched`() throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 1 << 20)
        let device = try StorageDevice.openSource(FilePath(loop.path))
        #expect(device.zeroing.punchesHoles == true)
        #expect(RawMap(device).zeroesPlaces)
    }
}
