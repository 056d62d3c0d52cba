import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Images that are broken, that lie, that can't be read by anybody, or that someone else has
    /// open: what is wrong is said, with the name of the file, and nothing is written.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Hostile {
        static let size = 2 * miB
        /// The codes that say that nothing was written.
        static let unwritten: Set = [Code.usage, Code.refused]

        private static func image(_ scratch: Scratch, _ options: [String] = []) throws -> String {
            let image = try QEMU.create(scratch.path("image.qcow2"), size: size, options: options)
            try QEMU.io(image, ["write -P 1 0 512K", "write -P 2 1M 256K"])
            return image
        }

        /// As a source and as a target, in every command that would read or write it.
        private static func expectUseless(
            _ image: String, in scratch: Scratch, naming words: [String],
            codes: Set<Int32> = unwritten,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let raw = try scratch.image("raw.raw", size: size, seed: 1)
            let new = scratch.path("new.raw")
            for command in [
                ["full", image, new, "--create"], ["full", raw, image, "--overwrite"],
                ["compare", image, raw],
            ] {
                try scratch.expectTurnedDown(
                    command, codes: codes, naming: [image] + words, untouched: [image, raw],
                    sourceLocation: sourceLocation)
                #expect(
                    !FileManager.default.fileExists(atPath: new), sourceLocation: sourceLocation)
            }
            let info = try scratch.run("info", image)
            #expect(info.signal == nil, "\(info)", sourceLocation: sourceLocation)
        }

        private static func patch(_ path: String, at offset: Int64, _ bytes: [UInt8]) throws {
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try file.seek(toOffset: UInt64(offset))
            try file.write(contentsOf: Data(bytes))
            try file.close()
        }

        /// A number of the header, which is big endian.
        private static func patch(_ path: String, at offset: Int64, number: UInt64) throws {
            try patch(path, at: offset, withUnsafeBytes(of: number.bigEndian, Array.init))
        }

        @Test(arguments: [0, 3, 4, 71, 103, 4096])
        func `a header that ends`(length: Int64) throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try Shell.run("truncate", "-s", String(length), image)
            let new = scratch.path("new.raw")
            let end = try scratch.run("full", image, new, "--create", "--source-format", "qcow2")
            #expect(end.code.map(Self.unwritten.contains) == true, "\(end)")
            #expect(end.errors.contains(image), "\(end)")
            #expect(!FileManager.default.fileExists(atPath: new))
        }

        /// Where the data of an image should be, its file has ended. Nobody may get zeros for it.
        @Test(arguments: [200_000, 327_680, 500_000])
        func `an image that was cut off`(length: Int64) throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try Shell.run("truncate", "-s", String(length), image)
            let end = try scratch.run("full", image, scratch.path("new.raw"), "--create")
            let codes: Set = [Code.failed, Code.usage, Code.refused]
            #expect(end.code.map(codes.contains) == true, "\(end)")
            #expect(end.errors.contains(image), "\(end)")
        }

        @Test func `garbage behind the magic`() throws {
            for seed in RandomTest.seed(default: 0x9b00)..<RandomTest.seed(default: 0x9b00) + 8 {
                let scratch = try Scratch()
                let image = try scratch.image("image.qcow2", size: Self.size, seed: seed)
                try Self.patch(image, at: 0, [0x51, 0x46, 0x49, 0xfb])
                // A version that there is, so that what follows is looked at.
                if seed % 2 == 0 {
                    try Self.patch(image, at: 4, [0, 0, 0, UInt8(2 + seed / 2 % 2)])
                }
                try Self.expectUseless(image, in: scratch, naming: [])
            }
        }

        /// A bit or a byte that is wrong anywhere in what describes the image. It may be harmless,
        /// or make it useless, but never ends in a crash or a hang, nor in files of unlikely size.
        @Test func `damaged metadata`() throws {
            let first = RandomTest.seed(default: 0xac00)
            let scratch = try Scratch()
            let pristine = try Self.image(scratch, ["cluster_size=4096"])
            try QEMU.img("snapshot", "-c", "s", pristine)
            try QEMU.img("bitmap", "--add", pristine, "b")
            try QEMU.io(pristine, ["write -P 3 100K 64K"])
            let raw = try scratch.image("raw.raw", size: Self.size, seed: 1)
            let size = try Content.size(pristine)
            for round in 0..<RandomTest.events(default: 20) {
                var random = SeededGenerator(seed: first &+ UInt64(round))
                let bad = scratch.path("bad.qcow2")
                try Shell.run("cp", pristine, bad)
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let ends: [Int64] = [120, 5 * 4096, size]
                    let end = ends.randomElement(using: &random) ?? size
                    let offset = Int64.random(in: 4..<end, using: &random)
                    let bytes: [UInt8] = [0, 1, 0x7f, 0x80, 0xff]
                    try Self.patch(
                        bad, at: offset, [bytes.randomElement(using: &random) ?? 0])
                }
                let new = scratch.path("new.raw")
                let replay = "RINGMIRROR_SEED=\(random.seed) RINGMIRROR_EVENTS=1"
                for command in [
                    ["full", bad, new, "--create"], ["info", bad], ["measure", bad],
                    ["full", raw, bad, "--overwrite"],
                ] {
                    let end = try scratch.run(command)
                    let codes: Set = [Code.done, Code.failed, Code.usage, Code.refused]
                    #expect(end.code.map(codes.contains) == true, "\(command) \(end) \(replay)")
                }
                unlink(new)
            }
        }

        @Test func `chains that go in circles`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            let other = try QEMU.create(scratch.path("other.qcow2"), over: (image, "qcow2"))
            try QEMU.img("rebase", "-u", "-b", other, "-F", "qcow2", image)
            try Self.expectUseless(image, in: scratch, naming: [])
            let own = try QEMU.create(scratch.path("own.qcow2"), size: Self.size)
            try QEMU.img("rebase", "-u", "-b", own, "-F", "qcow2", own)
            try Self.expectUseless(own, in: scratch, naming: [])
        }

        @Test func `a chain that is longer than anybody needs`() throws {
            let scratch = try Scratch()
            var last = try Self.image(scratch)
            for number in 0..<30 {
                last = try QEMU.create(scratch.path("\(number).qcow2"), over: (last, "qcow2"))
            }
            try QEMU.io(last, ["write -P 5 0 100"])
            let new = scratch.path("new.raw")
            try scratch.succeed("full", last, new, "--create")
            expectIdentical(last, new, formats: ("qcow2", "raw"))
        }

        @Test func `a backing image that is missing`() throws {
            let scratch = try Scratch()
            let base = try Self.image(scratch)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            unlink(base)
            try Self.expectUseless(overlay, in: scratch, naming: [base])
        }

        /// What is in a raw image is its guest's to say: an image below has to be said to be one.
        @Test func `a backing image whose format is not said`() throws {
            let scratch = try Scratch()
            let base = try Self.image(scratch)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            let head = try Content.read(overlay, 0..<4096)
            let kind = try #require(head.firstRange(of: Data([0xe2, 0x79, 0x2a, 0xca])))
            try Self.patch(overlay, at: Int64(kind.lowerBound), [0x12, 0x34, 0x56, 0x78])
            try Self.expectUseless(overlay, in: scratch, naming: ["format", base])
        }

        /// A guest can write the first bytes of its raw disk. They mean nothing below an image.
        @Test func `a raw backing image that begins with the magic`() throws {
            let scratch = try Scratch()
            let base = try scratch.image("base.raw", size: Self.size, seed: 4)
            try Self.patch(base, at: 0, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3])
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "raw"))
            let new = scratch.path("new.raw")
            try scratch.succeed("full", overlay, new, "--create")
            expectSame(base, new)
        }

        @Test(arguments: ["luks", "aes"])
        func `encrypted images`(format: String) throws {
            let scratch = try Scratch()
            let image = scratch.path("image.qcow2")
            try QEMU.img(
                "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o",
                "encrypt.format=aes,encrypt.key-secret=s", image, String(Self.size))
            // To make a real one of this kind QEMU measures how fast the machine is, and gives up
            // on a busy one. Where the header says so, nobody reads on.
            if format == "luks" { try Self.patch(image, at: 32, [0, 0, 0, 2]) }
            try Self.expectUseless(image, in: scratch, naming: ["encrypt"])
        }

        @Test func `a feature that nobody knows`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try Self.patch(image, at: 72, number: 1 << 41)
            try Self.expectUseless(image, in: scratch, naming: ["feature"])
            // One that does not matter to who does not know it is none.
            let other = try QEMU.create(scratch.path("other.qcow2"), size: Self.size)
            try Self.patch(other, at: 80, number: 1 << 41)
            try scratch.succeed("full", other, scratch.path("new.raw"), "--create")
        }

        @Test func `a version of the future`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try Self.patch(image, at: 4, [0, 0, 0, 4])
            try Self.expectUseless(image, in: scratch, naming: ["version"])
        }

        /// QEMU found that such an image destroys itself when it is written.
        @Test func `an image that is marked corrupt`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try Self.patch(image, at: 72, number: 2)
            let raw = try scratch.image("raw.raw", size: Self.size, seed: 1)
            try scratch.expectTurnedDown(
                ["full", raw, image, "--overwrite"], codes: Self.unwritten,
                naming: [image, "corrupt"], untouched: [image])
        }

        /// Sizes and offsets in the header, and numbers that they can't have.
        static let impossible: [(Int64, UInt64)] = [
            (24, .max), (24, 1 << 62), (40, 1 << 55), (48, 1 << 55), (40, 513),
        ]

        /// Its refcounts are those of some time ago: what seems free may be in use.
        @Test(.enabled(if: QEMU.hasDaemon, QEMU.daemonReason))
        func `an image that was not closed`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch, ["lazy_refcounts=on"])
            let raw = try scratch.image("raw.raw", size: Self.size, seed: 1)
            try Self.patch(image, at: 72, number: 1)
            #expect(try QEMU.info(image).flag("dirty-flag") == true)
            try scratch.expectTurnedDown(
                ["full", raw, image, "--overwrite"], codes: Self.unwritten,
                naming: [image, "qemu-img check -r all"], untouched: [image])
            let new = scratch.path("new.raw")
            try scratch.succeed("full", image, new, "--create")
            try QEMU.img("check", "-q", "-r", "all", image)
            expectIdentical(image, new, formats: ("qcow2", "raw"))
            try scratch.succeed("full", raw, image, "--overwrite")
            expectSound(image)
        }

        /// What counts more bytes than there can be is not believed.
        @Test(arguments: impossible)
        func `a header of impossible numbers`(offset: Int64, number: UInt64) throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try Self.patch(image, at: offset, number: number)
            try Self.expectUseless(
                image, in: scratch, naming: [], codes: [Code.failed, Code.usage, Code.refused])
        }

        @Test(.enabled(if: QEMU.hasDaemon, QEMU.daemonReason))
        func `an image that a machine has open`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            let raw = try scratch.image("raw.raw", size: Self.size, seed: 1)
            let new = scratch.path("new.raw")
            let machine = try Machine(image, in: scratch)
            for command in [
                ["full", image, new, "--create"], ["full", raw, image, "--overwrite"],
                ["stream", image], ["commit", image], ["bitmap", "add", image, "b"],
            ] {
                try scratch.expectTurnedDown(command, naming: [image], untouched: [image, raw])
            }
            #expect(!FileManager.default.fileExists(atPath: new))
            try machine.shutDown()
            try scratch.succeed("full", image, new, "--create")
            expectIdentical(image, new, formats: ("qcow2", "raw"))
        }

        @Test(.enabled(if: QEMU.hasDaemon, QEMU.daemonReason))
        func `a backing image that a machine has open`() throws {
            let scratch = try Scratch()
            let base = try Self.image(scratch)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            try QEMU.io(overlay, ["write -P 5 0 100"])
            let writer = try Machine(base, in: scratch)
            try scratch.expectTurnedDown(
                ["full", overlay, scratch.path("new.raw"), "--create"], naming: [base])
            try scratch.expectTurnedDown(["commit", overlay], naming: [base])
            try writer.shutDown()
            // Readers disturb nobody who reads, and everybody who writes.
            let reader = try Machine(base, readOnly: true, in: scratch)
            try scratch.succeed("full", overlay, scratch.path("new.raw"), "--create")
            try scratch.expectTurnedDown(["commit", overlay], naming: [base])
            try reader.shutDown()
            try scratch.succeed("commit", overlay)
        }

        /// While we write an image no machine can open it.
        @Test(.enabled(if: QEMU.hasDaemon, QEMU.daemonReason))
        func `an image that is being mirrored`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: 8 * miB, seed: 1)
            let target = try QEMU.create(scratch.path("target.qcow2"), size: 8 * miB)
            let child = try scratch.start([
                "full", source, target, "--overwrite", "--speed", "4M", "--json",
            ])
            #expect(child.wait(until: { $0.output.contains("start") }))
            #expect(throws: Shell.Failure.self) { try QEMU.io(target, ["write -P 1 0 512"]) }
            #expect(throws: Shell.Failure.self) { try QEMU.img("check", target) }
            #expect(child.isRunning, "it was too fast for this test")
            #expect(try child.wait().code == Code.done)
            expectSound(target)
            expectIdentical(source, target, formats: ("raw", "qcow2"))
        }

        /// What is read would change while it is read. The other way round nothing does.
        @Test func `an overlay onto its own base`() throws {
            let scratch = try Scratch()
            let base = try Self.image(scratch)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            try QEMU.io(overlay, ["write -P 5 0 100K"])
            for (source, target) in [(overlay, base), (overlay, overlay)] {
                try scratch.expectTurnedDown(
                    ["full", source, target, "--overwrite"], naming: [target],
                    untouched: [base, overlay])
            }
            try scratch.succeed("full", base, overlay, "--overwrite")
            expectSound(overlay)
            expectIdentical(base, overlay)
        }

        /// Its data would have to be written in one file and its tables in another.
        @Test func `a target whose data is in a file of its own`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: Self.size,
                options: ["data_file=\(scratch.path("image.data"))"])
            try QEMU.io(image, ["write -P 5 0 100K"])
            let raw = try scratch.image("raw.raw", size: Self.size, seed: 1)
            try scratch.expectTurnedDown(
                ["full", raw, image, "--overwrite"], codes: Self.unwritten, naming: [image],
                untouched: [image, scratch.path("image.data")])
        }

        @Test func `options that can't be`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: miB, seed: 1)
            let base = try QEMU.create(scratch.path("base.qcow2"), size: miB)
            let new = scratch.path("new.qcow2")
            for options in [
                ["--cluster-size", "1000"], ["--cluster-size", "256"], ["--cluster-size", "4M"],
                ["--cluster-size", "4K", "--extended-l2"], ["--preallocate", "everything"],
                ["--backing", base], ["--backing-format", "qcow2"],
                ["--backing", base, "--backing-format", "vmdk"],
                [
                    "--backing", base, "--backing-format", "qcow2", "--preallocate", "metadata",
                ],
                ["--target-format", "raw", "--cluster-size", "64K"], ["--target-format", "vmdk"],
                ["--source-format", "qed"],
            ] {
                let end = try scratch.run(["full", source, new, "--create"] + options)
                #expect(end.code == Code.usage, "\(options): \(end)")
                #expect(!end.errors.isEmpty)
                #expect(!FileManager.default.fileExists(atPath: new), "\(options)")
            }
            let missing = try scratch.run(
                "full", source, new, "--create", "--backing", scratch.path("missing"),
                "--backing-format", "raw")
            #expect(missing.code.map(Self.unwritten.contains) == true, "\(missing)")
            #expect(missing.errors.contains(scratch.path("missing")), "\(missing)")
            #expect(!FileManager.default.fileExists(atPath: new))
        }
    }
}
