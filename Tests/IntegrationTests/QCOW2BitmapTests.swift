import Foundation
import Glibc
import TestSupport
import Testing

/// Writes of a guest, as many times 64 KiB long as they say, at offsets in KiB.
private struct Writes {
    let pattern: Int
    let ranges: [Range<Int64>]

    init(_ pattern: Int, _ writes: [(offset: Int64, count: Int64)]) {
        self.pattern = pattern
        ranges = writes.map { $0.offset * kiB..<($0.offset + 64 * $0.count) * kiB }
    }

    var commands: [String] {
        ranges.map { "write -P \(pattern) \($0.lowerBound) \($0.count)" }
    }

    func granules(_ granule: Int64) -> Set<Int64> {
        Set(ranges.flatMap { $0.lowerBound / granule...($0.upperBound - 1) / granule })
    }

    /// Each overlaps the ones before it at another edge.
    static let g0 = Writes(0xa0, [(0, 1), (1024, 1), (32768, 1), (65536 - 64, 1)])
    static let g1 = Writes(0xa1, [(0, 1), (1024 - 32, 1), (32768 + 32, 1), (65536 - 128, 1)])
    static let g2 = Writes(0xa2, [(64, 1), (928, 1), (32768 + 96, 1), (65536 - 128, 2)])
    static let g3 = Writes(0xa3, [(64, 3), (864, 1), (32768 + 160, 1), (65536 - 256, 1)])
}

extension Processes {
    /// Bitmaps that QEMU keeps in an image: it marks them, we copy by them and clear them, and it
    /// must find all of that in order.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Bitmaps {
        static let size = 64 * miB

        private static func image(
            _ scratch: Scratch, _ granularity: Int64 = 64 * kiB, options: [String] = []
        ) throws -> String {
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: size, options: options)
            try QEMU.io(image, Writes.g0.commands)
            return image
        }

        @Test(arguments: [
            ("on-success", 64 * kiB), ("on-success", 512), ("on-success", 256 * kiB),
            ("never", 64 * kiB), ("always", 64 * kiB),
        ])
        func `three increments`(mode: String, granularity: Int64) throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            try QEMU.img("bitmap", "--add", "-g", String(granularity), image, "b")
            var expected: Set<Int64> = []
            for (round, writes) in [Writes.g1, .g2, .g3].enumerated() {
                try QEMU.io(image, writes.commands)
                expected.formUnion(writes.granules(granularity))
                #expect(try QEMU.dirty(image, "b", granule: granularity) == expected)
                let command =
                    [
                        "incremental", image, target, "--bitmap", "b", "--bitmap-mode", mode,
                        "--json",
                    ] + (round == 0 ? ["--new-target"] : [])
                let end = try scratch.succeed(command)
                let planned = try end.report().number("planned")
                #expect(planned == Int64(expected.count) * granularity)
                expectIdentical(image, target, formats: ("qcow2", "raw"))
                expectSound(image)
                if mode != "never" { expected = [] }
                #expect(try QEMU.dirty(image, "b", granule: granularity) == expected)
                let bitmaps = try QEMU.bitmaps(image)
                let sound = QEMU.PersistentBitmap(
                    granularity: granularity, isEnabled: true, isInUse: false)
                #expect(bitmaps == ["b": sound])
            }
        }

        /// What another writer than QEMU can do to bitmaps that it does not know of: nothing.
        @Test(arguments: [["cluster_size=512"], ["extended_l2=on"], ["refcount_bits=64"]])
        func `bitmaps beside bitmaps`(options: [String]) throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch, options: options)
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            for name in ["kept", "b", "off"] {
                try QEMU.img("bitmap", "--add", "-g", "64K", image, name)
            }
            try QEMU.img("bitmap", "--disable", image, "off")
            try QEMU.io(image, Writes.g1.commands)
            try scratch.succeed("incremental", image, target, "--bitmap", "b", "--new-target")
            expectSound(image)
            let bitmaps = try QEMU.bitmaps(image)
            #expect(bitmaps.mapValues(\.isEnabled) == ["kept": true, "b": true, "off": false])
            #expect(bitmaps.filter { $0.value.isInUse }.isEmpty)
            #expect(try QEMU.dirty(image, "kept") == Writes.g1.granules(64 * kiB))
            #expect(try QEMU.dirty(image, "b").isEmpty)
            #expect(try QEMU.dirty(image, "off").isEmpty)
        }

        /// A bitmap that no longer records still says what it recorded.
        @Test func `a disabled bitmap`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            let target = scratch.path("target.raw")
            try QEMU.img("bitmap", "--add", "-g", "64K", image, "b")
            try QEMU.io(image, Writes.g1.commands)
            try QEMU.img("bitmap", "--disable", image, "b")
            try scratch.succeed("full", image, target, "--create")
            try QEMU.io(image, Writes.g2.commands)
            let reference = try QEMU.flatten(image, to: scratch.path("reference"))
            try Content.zeros(to: target, 0..<64 * kiB)
            // What was written when it did not record is missing, which a sample finds.
            let refused = try scratch.run(
                "incremental", image, target, "--bitmap", "b", "--new-target")
            #expect(refused.code == Code.refused, "\(refused)")
            try scratch.succeed("full", image, target, "--overwrite")
            try Content.zeros(to: target, 0..<64 * kiB)
            let end = try scratch.succeed(
                "incremental", image, target, "--bitmap", "b", "--new-target", "--json")
            #expect(try end.report().number("planned") == 6 * 64 * kiB)
            #expect(
                try Content.read(target, 0..<64 * kiB) == Content.read(reference, 0..<64 * kiB))
            #expect(try QEMU.bitmaps(image)["b"]?.isEnabled == false)
        }

        @Test func `a full mirror begins a series`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try QEMU.img("bitmap", "--add", "-g", "64K", image, "b")
            try QEMU.io(image, Writes.g1.commands)
            let target = scratch.path("target.qcow2")
            try scratch.succeed("full", image, target, "--create", "--bitmap", "b")
            #expect(try QEMU.dirty(image, "b").isEmpty)
            expectIdentical(image, target)
            try QEMU.io(image, Writes.g2.commands)
            try scratch.succeed("incremental", image, target, "--bitmap", "b")
            expectIdentical(image, target)
            expectSound(target)
            expectSound(image)
            #expect(try QEMU.dirty(image, "b").isEmpty)
        }

        /// An image whose writer died has bitmaps that missed what it wrote.
        @Test(.enabled(if: QEMU.hasDaemon, QEMU.daemonReason))
        func `a bitmap whose writer died`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            try QEMU.img("bitmap", "--add", "-g", "64K", image, "b")
            let machine = try Machine(image, in: scratch)
            machine.die()
            #expect(try QEMU.bitmaps(image)["b"]?.isInUse == true)
            let end = try scratch.expectTurnedDown(
                ["incremental", image, target, "--bitmap", "b", "--new-target"],
                naming: ["'b'", "remove it", "mirror everything"], untouched: [image, target])
            #expect(end.errors.contains(image), "\(end)")
            // The remedy works, and the others of its name are as good as new.
            try scratch.succeed("bitmap", "remove", image, "b")
            #expect(try QEMU.bitmaps(image).isEmpty)
            expectSound(image, leaksAllowed: true)
            try scratch.succeed("bitmap", "add", image, "b", "--granularity", "64K")
            try scratch.succeed("full", image, target, "--overwrite", "--bitmap", "b")
            try QEMU.io(image, Writes.g1.commands)
            try scratch.succeed("incremental", image, target, "--bitmap", "b")
            expectIdentical(image, target, formats: ("qcow2", "raw"))
        }

        struct Stop: CustomTestStringConvertible {
            let signal: CInt
            let mode: String
            var testDescription: String { "\(signal == SIGINT ? "SIGINT" : "SIGKILL") \(mode)" }

            static let all = [SIGINT, SIGKILL].flatMap { signal in
                ["on-success", "never", "always"].map { Stop(signal: signal, mode: $0) }
            }
        }

        /// The job ends in the middle. Nothing that it had not copied has left the bitmap, and
        /// nobody calls the bitmap inconsistent: we only read what it belongs to.
        @Test(arguments: Stop.all)
        func `an increment that is stopped`(stop: Stop) throws {
            let scratch = try Scratch()
            let size = 8 * miB
            let image = try QEMU.create(scratch.path("image.qcow2"), size: size)
            try QEMU.io(image, ["write -P 1 0 \(size)"])
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            try QEMU.img("bitmap", "--add", "-g", "64K", image, "b")
            try QEMU.io(image, ["write -P 2 0 \(size)"])
            let all = Set(0..<size / (64 * kiB))
            let command = [
                "incremental", image, target, "--bitmap", "b", "--bitmap-mode", stop.mode,
                "--new-target",
            ]
            let child = try scratch.start(
                command + ["--speed", "4M", "--request-size", "64K", "--depth", "1"])
            // Its writes have begun, and take some time yet.
            #expect(
                child.wait(until: { _ in
                    (try? Content.read(target, 0..<1) == Data([2])) == true
                }))
            child.send(stop.signal)
            let end = try child.wait(seconds: 10)
            #expect(stop.signal == SIGKILL || end.code == Code.interrupted, "\(end)")
            expectSound(image, leaksAllowed: stop.signal == SIGKILL)
            #expect(try QEMU.bitmaps(image)["b"]?.isInUse == false)
            let left = try QEMU.dirty(image, "b")
            if stop.mode == "always" && stop.signal == SIGINT {
                #expect(left.isStrictSubset(of: all) && !left.isEmpty)
                for granule in all.subtracting(left) {
                    let start = granule * 64 * kiB
                    #expect(
                        try Content.read(target, start..<start + 64 * kiB)
                            == Data(repeating: 2, count: Int(64 * kiB)))
                }
            } else if stop.mode != "always" {
                #expect(left == all)
            }
            let again = try scratch.succeed(command + ["--json"])
            #expect(try again.report().number("planned") == Int64(left.count) * 64 * kiB)
            expectIdentical(image, target, formats: ("qcow2", "raw"))
            #expect(try QEMU.dirty(image, "b") == (stop.mode == "never" ? all : []))
        }

        @Test func `a bitmap that is not there`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            try scratch.expectTurnedDown(
                ["incremental", image, target, "--bitmap", "nameless"],
                codes: [Code.usage, Code.refused], naming: ["nameless"],
                untouched: [image, target])
        }

        /// Whoever writes an image that has bitmaps marks in them what it has written.
        @Test func `bitmaps of the target`() throws {
            let scratch = try Scratch()
            let source = try Self.image(scratch)
            let target = scratch.path("target.qcow2")
            try scratch.succeed("full", source, target, "--create")
            try QEMU.img("bitmap", "--add", "-g", "64K", target, "on")
            try QEMU.img("bitmap", "--add", "-g", "64K", target, "off")
            try QEMU.img("bitmap", "--disable", target, "off")
            try QEMU.img("bitmap", "--add", "-g", "64K", source, "b")
            try QEMU.io(source, Writes.g1.commands + ["write -z -u 32M 64K"])
            let changed = try QEMU.dirty(source, "b")
            #expect(changed == Writes.g1.granules(64 * kiB).union([512]))
            try scratch.succeed("incremental", source, target, "--bitmap", "b", "--new-target")
            expectSound(target)
            expectIdentical(source, target)
            #expect(try QEMU.dirty(target, "on") == changed)
            #expect(try QEMU.dirty(target, "off").isEmpty)
            // A full mirror marks at least what it has changed.
            try QEMU.io(source, Writes.g3.commands)
            try QEMU.img("bitmap", "--clear", target, "on")
            try scratch.succeed("full", source, target, "--overwrite")
            expectSound(target)
            expectIdentical(source, target)
            #expect(try QEMU.dirty(target, "on").isSuperset(of: Writes.g3.granules(64 * kiB)))
            #expect(try QEMU.dirty(target, "off").isEmpty)
            let bitmaps = try QEMU.bitmaps(target)
            #expect(bitmaps.mapValues(\.isEnabled) == ["on": true, "off": false])
            #expect(bitmaps.filter { $0.value.isInUse }.isEmpty)
        }

        /// Of a target whose writer dies nobody knows what it has written; its bitmaps say so.
        @Test(.enabled(if: Needs.strace, Needs.straceReason))
        func `bitmaps of a target whose mirror is killed`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: 2 * miB, seed: 1)
            let pristine = try QEMU.create(scratch.path("pristine.qcow2"), size: 2 * miB)
            try QEMU.img("bitmap", "--add", "-g", "64K", pristine, "on")
            let zeros = try scratch.file("zeros.raw", size: 2 * miB)
            let target = scratch.path("target.qcow2")
            let calls = "io_uring_enter,pwrite64,pwritev,pwritev2,fsync,fdatasync,fallocate"
            for when in [1, 2, 3, 5, 8, 13, 21, 34, 55] {
                try Shell.run("cp", pristine, target)
                let end = try scratch.run(
                    ["full", source, target, "--overwrite"],
                    prefix: [
                        "strace", "-f", "-o", "/dev/null", "-e",
                        "trace=\(calls)", "-e", "inject=\(calls):signal=SIGKILL:when=\(when)",
                    ])
                expectSound(target, leaksAllowed: true, "killed at call \(when)")
                guard let bitmap = try QEMU.bitmaps(target)["on"] else { continue }
                let isChanged =
                    (try? QEMU.img(
                        ["compare", "-f", "qcow2", "-F", "raw", target, zeros])) == nil
                // It may only pretend to be in order if it has what was written.
                if isChanged && !bitmap.isInUse {
                    let all = Set(0..<2 * miB / (64 * kiB))
                    #expect(try QEMU.dirty(target, "on") == all, "killed at call \(when)")
                }
                if end.code == Code.done { break }
            }
        }

        /// Commands on bitmaps in the image, seen with QEMU's eyes.
        @Test func `commands on the bitmaps of an image`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try scratch.succeed("bitmap", "add", image, "one", "--granularity", "32K")
            try scratch.succeed("bitmap", "add", image, "two", "--disabled")
            var bitmaps = try QEMU.bitmaps(image)
            #expect(bitmaps["one"]?.granularity == 32 * kiB)
            #expect(bitmaps["two"]?.granularity == 64 * kiB)
            #expect(bitmaps.mapValues(\.isEnabled) == ["one": true, "two": false])
            expectSound(image)
            try QEMU.io(image, Writes.g1.commands)
            let marked = Writes.g1.granules(32 * kiB)
            #expect(try QEMU.dirty(image, "one", granule: 32 * kiB) == marked)
            #expect(try QEMU.dirty(image, "two").isEmpty)
            let show = try scratch.succeed("bitmap", "show", image, "one", "--json")
            #expect(try show.report().number("dirtyBytes") == Int64(marked.count) * 32 * kiB)
            let list = try scratch.succeed("bitmap", "list", image)
            #expect(list.output.contains("one") && list.output.contains("two"))
            try scratch.succeed("bitmap", "merge", image, "two", "one")
            #expect(try QEMU.dirty(image, "two") == Writes.g1.granules(64 * kiB))
            try scratch.succeed("bitmap", "clear", image, "one")
            #expect(try QEMU.dirty(image, "one", granule: 32 * kiB).isEmpty)
            try scratch.succeed("bitmap", "enable", image, "two")
            try scratch.succeed("bitmap", "disable", image, "one")
            bitmaps = try QEMU.bitmaps(image)
            #expect(bitmaps.mapValues(\.isEnabled) == ["one": false, "two": true])
            expectSound(image)
            try scratch.expectTurnedDown(
                ["bitmap", "add", image, "one"], codes: [Code.usage, Code.refused],
                naming: ["one"], untouched: [image])
            try scratch.succeed("bitmap", "remove", image, "one")
            #expect(try Set(QEMU.bitmaps(image).keys) == ["two"])
            try scratch.succeed("bitmap", "remove", image, "two")
            #expect(try QEMU.bitmaps(image).isEmpty)
            expectSound(image)
            expectIdentical(image, image, shared: true)
            #expect(!FileManager.default.fileExists(atPath: image + ".bitmaps"))
        }

        /// One entry that QEMU does not understand keeps it from opening the image at all.
        @Test func `a directory of bitmaps that is broken`() throws {
            let scratch = try Scratch()
            let image = try Self.image(scratch)
            try QEMU.img("bitmap", "--add", image, "b")
            let merged = try QEMU.flatten(image, to: scratch.path("merged"))
            let bytes = try Content.read(image, 0..<Content.size(image))
            let name = try #require(
                bytes.range(
                    of: Data("b".utf8 + [0, 0, 0, 0, 0, 0, 0]),
                    options: .backwards))
            // Its length is six bytes before it, and now reaches far behind the directory.
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: image))
            try file.seek(toOffset: UInt64(name.lowerBound) - 6)
            try file.write(contentsOf: Data([0x03, 0xff]))
            try file.close()
            #expect(throws: Shell.Failure.self) { try QEMU.io(image, ["write -P 1 0 512"]) }
            let target = scratch.path("target.raw")
            try scratch.expectTurnedDown(
                ["bitmap", "add", image, "c"], codes: [Code.usage, Code.refused], naming: [image],
                untouched: [image])
            try scratch.succeed("bitmap", "remove", image, "--all")
            try QEMU.io(image, ["write -P 0xa0 0 512"])
            #expect(try QEMU.bitmaps(image).isEmpty)
            expectSound(image, leaksAllowed: true)
            try scratch.succeed("full", image, target, "--create")
            expectSame(merged, target)
        }

        /// Where images can't have bitmaps, that is said.
        @Test func `an image of the old version`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: miB, options: ["compat=0.10"])
            try scratch.expectTurnedDown(
                ["bitmap", "add", image, "b"], codes: [Code.usage, Code.refused],
                naming: [image], untouched: [image])
        }
    }
}

extension Integration {
    @Suite(
        .serialized, .enabled(if: Needs.fuse && QEMU.isThere, Needs.fuseReason),
        .timeLimit(.minutes(20)))
    struct QCOW2FailedIncrements {
        /// A target that fails in one granule: what remains in the bitmap, by its mode, and the
        /// second attempt.
        @Test(arguments: ["on-success", "never", "always"])
        func `an increment that fails`(mode: String) throws {
            let scratch = try Scratch()
            let size = 4 * miB
            let image = try QEMU.create(scratch.path("image.qcow2"), size: size)
            try QEMU.io(image, ["write -P 1 0 \(size)"])
            let raw = try QEMU.flatten(image, to: scratch.path("target.raw"))
            let disk = try NBDDisk.failing(raw, in: scratch)
            try QEMU.img("bitmap", "--add", "-g", "64K", image, "b")
            try QEMU.io(image, ["write -P 2 64K 64K", "write -P 3 1M 256K", "write -P 4 3M 64K"])
            let marked: Set<Int64> = [1, 16, 17, 18, 19, 48]
            let command = [
                "incremental", image, disk.path, "--bitmap", "b", "--bitmap-mode", mode,
                "--new-target",
            ]
            try disk.set(.write, at: miB + 64 * kiB)
            let failed = try scratch.run(command + ["--on-target-error", "ignore"])
            #expect(failed.code == Code.failed, "\(failed)")
            expectSound(image)
            let left = try QEMU.dirty(image, "b")
            #expect(left == (mode == "always" ? [17] : marked))
            disk.heal(.write)
            try QEMU.io(image, ["write -P 5 2M 64K"])
            let end = try scratch.succeed(command + ["--json"])
            let planned = try end.report().number("planned")
            #expect(planned == Int64(left.count + 1) * 64 * kiB)
            expectIdentical(image, raw, formats: ("qcow2", "raw"))
            #expect(try QEMU.dirty(image, "b") == (mode == "never" ? left.union([32]) : []))
        }
    }
}
