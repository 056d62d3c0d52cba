import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

@Suite struct IdentityTests {
    private static func identity(_ change: (inout DeviceIdentity) -> Void) -> DeviceIdentity {
        var identity = DeviceIdentity(size: 4096)
        identity.deviceNumber = DeviceNumber(major: 8, minor: 16)
        change(&identity)
        return identity
    }

    private typealias Change = @Sendable (inout DeviceIdentity) -> Void

    /// What one look and a later one found, and what of it makes another disk.
    private static let cases: [(name: String, old: Change, new: Change, difference: String?)] = [
        ("nothing", { _ in }, { _ in }, nil),
        ("size", { _ in }, { $0.size = 512 }, "its size was 4096 bytes, and is 512 bytes"),
        (
            "size in spite of the name", { $0.wwn = "w" },
            {
                $0.wwn = "w"
                $0.size = 1
            }, "its size was 4096 bytes, and is 1 bytes"
        ),
        ("name", { $0.wwn = "v" }, { $0.wwn = "w" }, "its worldwide name was v, and is w"),
        (
            "other number, same name", { $0.wwn = "w" },
            {
                $0.wwn = "w"
                $0.deviceNumber = DeviceNumber(major: 8, minor: 32)
                $0.diskSequence = 9
            }, nil
        ),
        ("serial", { $0.serial = "1" }, { $0.serial = "2" }, "its serial was 1, and is 2"),
        (
            "model",
            {
                $0.serial = "1"
                $0.model = "a"
            },
            {
                $0.serial = "1"
                $0.model = "b"
            }, "its model was a, and is b"
        ),
        ("uuid", { $0.uuid = "1" }, { $0.uuid = "2" }, "its uuid was 1, and is 2"),
        (
            "partition",
            {
                $0.wwn = "w"
                $0.partition = 1
            },
            {
                $0.wwn = "w"
                $0.partition = 2
            }, "its partition was 1, and is 2"
        ),
        (
            "start",
            {
                $0.wwn = "w"
                $0.partitionStart = 1
            },
            {
                $0.wwn = "w"
                $0.partitionStart = 2
            }, "its partition's first sector was 1, and is 2"
        ),
        (
            "a name that only one look found", { $0.wwn = "w" },
            { $0.deviceNumber = DeviceNumber(major: 8, minor: 32) },
            "its device number was 8:16, and is 8:32"
        ),
        (
            "no name, another medium", { $0.diskSequence = 1 }, { $0.diskSequence = 2 },
            "its disk sequence number was 1, and is 2"
        ),
        (
            "the same file under another loop",
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
            },
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
                $0.deviceNumber = DeviceNumber(major: 7, minor: 3)
                $0.diskSequence = 7
            }, nil
        ),
        (
            "another file under a loop",
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
            },
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 6
            }, "its inode of the backing file was 5, and is 6"
        ),
        (
            "a file made anew under a loop",
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
                $0.backingBirth = 1_000_000_000
            },
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
                $0.backingBirth = 2_000_000_000
            },
            "its backing file is another: it was removed and made anew (made at "
                + "1970-01-01 00:00:01.000 UTC, now 1970-01-01 00:00:02.000 UTC)"
        ),
        (
            "the same file on a disk with another number",
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
                $0.backingBirth = 1_000_000_000
            },
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 17)
                $0.backingInode = 5
                $0.backingBirth = 1_000_000_000
            }, nil
        ),
        (
            "a file without a birth on a disk with another number",
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingInode = 5
            },
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 17)
                $0.backingInode = 5
            }, "its device of the backing file was 8:1, and is 8:17"
        ),
        (
            "another part of that file",
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingOffset = 0
            },
            {
                $0.backingDevice = DeviceNumber(major: 8, minor: 1)
                $0.backingOffset = 512
            }, "its offset in the backing file was 0, and is 512"
        ),
    ]

    @Test(arguments: cases.indices)
    func `what changed is told, and what may change is not`(index: Int) {
        let (name, old, new, difference) = Self.cases[index]
        let known = Self.identity(old)
        let now = Self.identity(new)
        #expect(now.difference(from: known) == difference, "\(name)")
        #expect((known.difference(from: now) == nil) == (difference == nil), "\(name)")
    }

    @Test func `an image is told by its inode and filesystem`() {
        func image(_ inode: UInt64, _ major: UInt32, _ minor: UInt32) -> DeviceIdentity {
            var identity = DeviceIdentity(size: 4096)
            identity.inode = inode
            identity.filesystemDevice = DeviceNumber(major: major, minor: minor)
            return identity
        }
        #expect(image(1, 8, 1).difference(from: image(1, 8, 1)) == nil)
        #expect(image(1, 8, 1).difference(from: image(2, 8, 1)) != nil)
        #expect(image(1, 8, 1).difference(from: image(1, 8, 2)) != nil)
        // The numbers of such filesystems are given out anew at each boot.
        #expect(image(1, 0, 31).difference(from: image(1, 0, 44)) == nil)
        #expect(image(1, 8, 1).difference(from: Self.identity { _ in }) != nil)
        // A disk that is plugged in again has another number; when the inode was made stays.
        func born(_ birth: Int64, _ minor: UInt32) -> DeviceIdentity {
            var identity = image(1, 8, minor)
            identity.birth = birth
            return identity
        }
        #expect(born(1, 1).difference(from: born(1, 17)) == nil)
        #expect(born(1, 1).difference(from: born(2, 17)) != nil)
        #expect(born(1, 1).difference(from: image(1, 8, 17)) != nil)
    }

    @Test func `a file with the inode of one that was removed is another file`() {
        func image(birth: Int64?, generation: UInt32? = nil) -> DeviceIdentity {
            var identity = DeviceIdentity(size: 4096)
            identity.inode = 12
            identity.filesystemDevice = DeviceNumber(major: 8, minor: 1)
            identity.birth = birth
            identity.generation = generation
            return identity
        }
        let known = image(birth: 1_000_000_000)
        #expect(known.difference(from: known) == nil)
        #expect(
            image(birth: 2_000_000_000).difference(from: known)
                == "it was removed and made anew (made at 1970-01-01 00:00:01.000 UTC, "
                + "now 1970-01-01 00:00:02.000 UTC)")
        // What only one look knows decides nothing.
        #expect(image(birth: nil).difference(from: known) == nil)
        #expect(known.difference(from: image(birth: nil)) == nil)
        #expect(image(birth: nil, generation: 3).difference(from: known) == nil)
        let numbered = image(birth: nil, generation: 3)
        #expect(numbered.difference(from: numbered) == nil)
        #expect(image(birth: nil, generation: 4).difference(from: numbered) != nil)
    }

    @Test func `removing and making a file makes it another`() throws {
        let scratch = try Scratch()
        func identity() throws -> DeviceIdentity {
            try StorageDevice.openSource(FilePath(scratch.path("image"))).identity
        }
        let path = try scratch.file("image", size: 1 << 20)
        let known = try identity()
        #expect(known.birth != nil || known.generation != nil)
        #expect(try identity().difference(from: known) == nil)
        // Until the inode's number is given out again, which ext4 does at once.
        for _ in 0..<20 {
            try FileManager.default.removeItem(atPath: path)
            usleep(10_000)
            _ = try scratch.file("image", size: 1 << 20)
            #expect(try identity().difference(from: known) != nil)
        }
    }

    @Test func `names of stores are safe, short and different for different disks`() {
        let disks = [
            Self.identity { $0.wwn = "naa.5000" }, Self.identity { $0.wwn = "naa/5000" },
            Self.identity { $0.wwn = "naa_5000" }, Self.identity { $0.serial = "naa.5000" },
            Self.identity {
                $0.wwn = "naa.5000"
                $0.partition = 1
            },
            Self.identity { $0.wwn = String(repeating: "ü/", count: 200) + "1" },
            Self.identity { $0.wwn = String(repeating: "ü/", count: 200) + "2" },
            Self.identity { $0.uuid = "../../etc" }, Self.identity { _ in },
            Self.identity { $0.backingDevice = DeviceNumber(major: 8, minor: 1) },
        ]
        let names = disks.map(\.storeName)
        #expect(Set(names).count == names.count)
        for name in names {
            #expect(name.utf8.count <= 200 && !name.hasPrefix(".") && !name.contains("/"))
            #expect(name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
        }
        var resized = disks[0]
        resized.size = 1 << 30
        resized.deviceNumber = DeviceNumber(major: 65, minor: 0)
        #expect(resized.storeName == names[0])
    }

    @Test(.enabled(if: LoopDevice.isAvailable))
    func `a loop device over the same file is the same disk, whatever its number`() throws {
        let scratch = try Scratch()
        let first = try scratch.loop(over: scratch.file("image", size: 1 << 20))
        let second = try scratch.loop(over: scratch.path("image"))
        let other = try scratch.loop(size: 1 << 20)
        func identity(_ loop: LoopDevice) throws -> DeviceIdentity {
            try StorageDevice.openSource(
                FilePath(loop.path), options: SourceOptions(allowSourceInUse: true)
            ).identity
        }
        let known = try identity(first)
        #expect(known.backingInode != nil && known.backingOffset == 0)
        #expect(try identity(second).difference(from: known) == nil)
        #expect(try identity(second).storeName == known.storeName)
        #expect(try identity(other).difference(from: known) != nil)
        #expect(try identity(other).storeName != known.storeName)
    }
}
