import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
    /// A disk with a volatile cache, and the power going: what was not flushed is lost.
    @Suite(
        .serialized, .enabled(if: Needs.fuse && Needs.loops, Needs.fuseReason),
        .timeLimit(.minutes(20)))
    struct PowerCuts {
        static let size = 16 * miB

        /// Proves the rig: what is written without a flush does not survive.
        @Test func `the rig forgets what was not flushed`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let image = try scratch.image("target", size: miB, seed: 2)
            let before = try Content.fingerprint(image)
            let disk = try NBDDisk.withVolatileCache(image, in: scratch)
            try Shell.run(
                "dd", "if=\(source)", "of=\(disk.path)", "bs=64K", "oflag=direct",
                "conv=notrunc", "status=none")
            expectSame(source, disk.path)
            disk.kill()
            #expect(try Content.fingerprint(image) == before)
        }

        @Test(arguments: Dress.allCases, ["direct", "buffered"])
        func `success is on the disk`(dress: Dress, cache: String) throws {
            let scratch = try Scratch()
            // An odd end: its last page goes another way than the rest.
            let size = dress == .file ? Self.size + 1234 : Self.size
            let source = try scratch.image("source", size: size, seed: 1)
            let image = try scratch.image("target", size: size, seed: 2)
            let disk = try NBDDisk.withVolatileCache(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            try scratch.mirror(source, target, "--cache", cache)
            disk.kill()
            expectSame(source, image)
        }

        @Test func `zeros are on the disk too`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            try Content.write(1, to: source, 3 * miB..<4 * miB)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.withVolatileCache(image, in: scratch)
            try scratch.mirror(source, disk.path)
            disk.kill()
            expectSame(source, image)
        }

        @Test(arguments: Dress.allCases)
        func `an interrupted job has flushed what it says it copied`(dress: Dress) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.withVolatileCache(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            let child = try scratch.start(
                [
                    "full", source, target, "--overwrite", "--json", "--speed", "6M",
                    "--request-size", "256K",
                ])
            #expect(child.wait(until: { $0.output.contains("progress") }))
            child.send(SIGINT)
            let end = try child.wait()
            disk.kill()
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(try end.report().flag("flushed") == true)
            let done = try #require(try end.report().number("done"))
            // Runs are copied in order, so what was done is the beginning.
            expectSame(source, image, count: done)
        }

        @Test(arguments: Dress.allCases)
        func `no success without power`(dress: Dress) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.withVolatileCache(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            let child = try scratch.start([
                "full", source, target, "--overwrite", "--json", "--speed", "12M",
            ])
            #expect(child.wait(until: { $0.output.contains("progress") }))
            disk.kill()
            let end = try child.wait()
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(try end.report().flag("flushed") == false)
        }
    }
}
