import Foundation
import TestSupport
import Testing

extension Integration {
    /// Disks of 512 and 4096-byte sectors, partitions, and images against disks.
    @Suite(
        .serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct Sectors {
        static let size = 16 * miB + 12 * kiB

        @Test(arguments: [(512, 512), (4096, 4096), (512, 4096), (4096, 512)], [false, true])
        func `disk to disk`(sectors: (Int, Int), directIO: Bool) throws {
            let scratch = try Scratch()
            let source = try scratch.loop(
                "source", size: Self.size, seed: 1, sectorSize: sectors.0, directIO: directIO)
            let target = try scratch.loop(
                "target", size: Self.size, seed: 2, sectorSize: sectors.1, directIO: directIO)
            try scratch.mirror(source.path, target.path, "--verify")
            expectSame(source.path, target.path)
            source.detach()
            target.detach()
            expectSame(source.backing, target.backing)
        }

        @Test(arguments: [512, 4096])
        func `image to disk and back`(sector: Int) throws {
            let scratch = try Scratch()
            let image = try scratch.image("image", size: Self.size, seed: 1)
            let disk = try scratch.loop("disk", size: Self.size, seed: 2, sectorSize: sector)
            try scratch.mirror(image, disk.path)
            expectSame(image, disk.path)
            let copy = scratch.path("copy")
            try scratch.mirror(disk.path, copy, "--create")
            expectSame(image, copy)
        }

        @Test func `holes of an image clear a disk`() throws {
            let scratch = try Scratch()
            let image = try scratch.file("image", size: 16 * miB)
            for start in [0, 5 * miB + 4 * kiB, 16 * miB - 4 * kiB] {
                try Content.write(1, to: image, start..<start + 4 * kiB)
            }
            let disk = try scratch.loop("disk", size: 16 * miB, seed: 2, sectorSize: 4096)
            try scratch.mirror(image, disk.path)
            expectSame(image, disk.path)
        }

        /// The image ends inside a block of the disk: what the rest of that block held must stay.
        @Test(arguments: [512, 4096 + 1, 3 * 512 + 7])
        func `an image that ends inside a 4096-byte sector`(tail: Int64) throws {
            let scratch = try Scratch()
            let size = 4 * miB + tail
            let image = try scratch.image("image", size: size, seed: 1)
            let disk = try scratch.loop("disk", size: 5 * miB, seed: 2, sectorSize: 4096)
            let refused = try scratch.run("full", image, disk.path)
            #expect(refused.code == Code.refused, "\(refused)")
            let before = try Content.read(disk.backing, size..<5 * miB)
            try scratch.mirror(image, disk.path, "--allow-larger", "--verify")
            expectSame(image, disk.path, count: size)
            disk.detach()
            expectSame(image, disk.backing, count: size)
            #expect(try Content.read(disk.backing, size..<5 * miB) == before)
        }

        /// A disk whose size is a multiple of 512 only, onto one of 4096-byte sectors.
        @Test func `512 to 4096 with an odd number of sectors`() throws {
            let scratch = try Scratch()
            let size = 4 * miB + 512
            let source = try scratch.loop("source", size: size, seed: 1)
            let target = try scratch.loop("target", size: 5 * miB, seed: 2, sectorSize: 4096)
            let before = try Content.read(target.backing, size..<5 * miB)
            try scratch.mirror(source.path, target.path, "--allow-larger")
            target.detach()
            expectSame(source.path, target.backing, count: size)
            #expect(try Content.read(target.backing, size..<5 * miB) == before)
        }

        @Test(arguments: [512, 4096])
        func `a partition as target leaves its neighbours alone`(sector: Int) throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: 8 * miB, seed: 1)
            let disk = try scratch.loop("disk", size: 10 * miB, seed: 2, sectorSize: sector)
            // addpart counts in 512-byte sectors whatever the disk has.
            let partition = try disk.addPartition(1, start: 2048, sectors: 16384)
            try scratch.mirror(source.path, partition)
            expectSame(source.path, partition)
            disk.detach()
            let untouched = try scratch.image("untouched", size: 10 * miB, seed: 2)
            expectSame(untouched, disk.backing, count: miB)
            expectSame(untouched, disk.backing, skip: 9 * miB)
            let copy = try Content.read(disk.backing, miB..<9 * miB)
            #expect(try copy == Content.read(source.backing, 0..<8 * miB))
        }

        @Test func `a partition as source`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop("disk", size: 10 * miB, seed: 1)
            let partition = try disk.addPartition(1, start: 2048, sectors: 16384)
            let target = scratch.path("target")
            try scratch.mirror(partition, target, "--create")
            expectSame(partition, target)
            #expect(
                try Content.read(target, 0..<8 * miB) == Content.read(disk.backing, miB..<9 * miB))
        }

        @Test func `a zram disk takes data and zeros`() throws {
            guard let zram = try ZramDisk(size: 16 * miB) else { return }
            let scratch = try Scratch()
            let image = try scratch.file("image", size: 16 * miB)
            try Content.write(1, to: image, 3 * miB..<7 * miB + 4096)
            try Content.write(2, to: zram.path, 0..<16 * miB)
            try scratch.mirror(image, zram.path, "--verify")
            expectSame(image, zram.path)
        }
    }
}
