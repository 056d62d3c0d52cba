import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Incremental mirrors of small changes, with the counts worked out by hand, and every
    /// combination of the options that say what is dirty.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct IncrementScenarios {
        static let size = 64 * miB
        /// In one granule, in several, and across the edge of two.
        static let changes = [
            0..<512, 16 * miB..<16 * miB + 256 * kiB, 32736 * kiB..<(32736 + 64) * kiB,
        ]

        private func change(_ scratch: Scratch, _ source: String, seed: UInt64) throws {
            for range in Self.changes {
                try Content.write(seed, to: source, range)
                try scratch.bitmap(
                    "mark", source, "b", "\(range.lowerBound)-\(range.upperBound)")
            }
        }

        @Test(arguments: [("32K", 11 * 32 * kiB), ("64K", 458_752), ("128K", 5 * 128 * kiB)])
        func `a chain of increments`(granularity: String, count: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "b", "--granularity", granularity)
            try change(scratch, source, seed: 1)
            try scratch.mirror(source, target, "--create", "--bitmap", "b")
            #expect(try scratch.dirtyBytes(source, "b") == 0)
            for round in 2...4 {
                try change(scratch, source, seed: UInt64(round))
                #expect(try scratch.dirtyBytes(source, "b") == count)
                let report = try scratch.increment(source, target, "--bitmap", "b")
                #expect(report.number("planned") == count)
                expectSame(source, target)
                #expect(try scratch.dirtyBytes(source, "b") == 0)
            }
        }

        /// A bitmap has what every target lacks: what one that is stopped halfway was given, the
        /// others lack as before.
        @Test(arguments: ["always", "on-success"], [SIGINT, SIGKILL])
        func `a stopped mirror to another target takes nothing from the first`(
            mode: String, signal: CInt
        ) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 16 * miB, seed: 1)
            let (first, second) = (scratch.path("first"), scratch.path("second"))
            try scratch.bitmap("add", source, "b")
            try scratch.mirror(source, first, "--create", "--bitmap", "b")
            try Content.write(2, to: source, 0..<64 * kiB)
            try scratch.bitmap("mark", source, "b", "0+64K")
            let child = try scratch.start([
                "full", source, second, "--create", "--bitmap", "b", "--bitmap-mode", mode,
                "--speed", "4M", "--request-size", "64K", "--depth", "1", "--checkpoint", "0.1",
            ])
            // What is marked has been copied, and checkpoints have recorded that.
            let hasBegun = child.wait(until: { _ in
                (try? Content.read(second, 2 * miB..<2 * miB + 16)).map {
                    !$0.isEmpty && !$0.allSatisfy { $0 == 0 }
                } ?? false
            })
            #expect(hasBegun && child.isRunning, "\(child.errors)")
            child.send(signal)
            try child.wait()
            let report = try scratch.increment(source, first, "--bitmap", "b")
            #expect(report.number("planned") == 64 * kiB)
            expectSame(source, first)
            try scratch.mirror(source, second, "--bitmap", "b")
            expectSame(source, second)
            #expect(try scratch.dirtyBytes(source, "b") == 0)
        }

        /// The last byte is a granule of its own.
        @Test func `an image that ends a byte behind a granule`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 4097, seed: 1)
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "b", "--granularity", "4096")
            try scratch.mirror(source, target, "--create", "--bitmap", "b")
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: source))
            try file.seek(toOffset: 4096)
            try file.write(contentsOf: Data([0x5a]))
            try file.close()
            try scratch.bitmap("mark", source, "b", "4096+1")
            #expect(try scratch.dirtyBytes(source, "b") == 1)
            let report = try scratch.increment(source, target, "--bitmap", "b", "--verify=all")
            #expect(report.number("planned") == 1)
            expectSame(source, target)
            #expect(try Content.read(target, 4096..<4097) == Data([0x5a]))
            #expect(try scratch.dirtyBytes(source, "b") == 0)
        }

        @Test(arguments: ["64000", "0", "256", "4G"])
        func `a granularity that can't be`(granularity: String) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: miB)
            let end = try scratch.run(
                "bitmap", "add", source, "b", "--granularity", granularity)
            #expect(end.code == Code.usage, "\(end)")
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
        }

        struct Combination: CustomTestStringConvertible {
            let command: String
            let bitmap: String?
            let mode: String?
            let hasMap: Bool

            var testDescription: String {
                "\(command) \(bitmap ?? "-") \(mode ?? "-") \(hasMap ? "map" : "-")"
            }

            static let all: [Combination] = ["full", "incremental"].flatMap { command in
                [nil, "unknown", "b"].flatMap { bitmap in
                    [nil, "on-success", "never", "always"].flatMap { mode in
                        [false, true].map {
                            Combination(command: command, bitmap: bitmap, mode: mode, hasMap: $0)
                        }
                    }
                }
            }

            var isRefused: Bool {
                // Only incremental mirrors go by a map, and by one thing or the other.
                if command == "full" ? hasMap : (bitmap != nil) == hasMap { return true }
                // It says what becomes of a bitmap, so that there has to be one.
                if mode != nil && bitmap == nil { return true }
                return bitmap == "unknown" || command == "full" && mode == "never"
            }
        }

        @Test(arguments: Combination.all)
        func `what says what is dirty`(_ combination: Combination) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = scratch.path("target")
            try FileManager.default.copyItem(atPath: source, toPath: target)
            try Content.write(9, to: target, 0..<64 * kiB)
            let map = scratch.path("map")
            try "0 65536\n".write(toFile: map, atomically: true, encoding: .utf8)
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "0+64K")
            let before = try Content.fingerprint(target)
            var arguments = [combination.command, source, target, "--overwrite"]
            if let bitmap = combination.bitmap { arguments += ["--bitmap", bitmap] }
            if let mode = combination.mode { arguments += ["--bitmap-mode", mode] }
            if combination.hasMap { arguments += ["--map", map + ":ranges"] }
            let end = try scratch.run(arguments)
            #expect(end.code == (combination.isRefused ? Code.usage : Code.done), "\(end)")
            #expect((try Content.fingerprint(target) == before) == combination.isRefused)
            let isCleared =
                !combination.isRefused && combination.bitmap != nil && combination.mode != "never"
            #expect(try scratch.dirtyBytes(source, "b") == (isCleared ? 0 : 64 * kiB))
        }
    }
}

extension Integration {
    @Suite(.serialized, .enabled(if: Needs.fuse, Needs.fuseReason), .timeLimit(.minutes(20)))
    struct FailedIncrements {
        /// A failure leaves the bitmap as it was, and what is written until the second attempt is
        /// added to it.
        @Test func `a failure, more writes, and a second attempt`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: 4 * miB, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = scratch.path("target")
            let store = ["--bitmaps", scratch.path("store")]
            func run(_ arguments: String...) throws -> Child.End {
                try scratch.run(arguments + store)
            }
            #expect(try run("bitmap", "add", disk.path, "b").code == Code.done)
            let base = try run("full", disk.path, target, "--create", "--bitmap", "b")
            #expect(base.code == Code.done, "\(base)")
            try Content.write(2, to: disk.path, miB..<miB + 200 * kiB)
            #expect(try run("bitmap", "mark", disk.path, "b", "1M+200K").code == Code.done)
            try disk.set(.read, at: miB + 64 * kiB)
            let failed = try run("incremental", disk.path, target, "--bitmap", "b")
            #expect(failed.code == Code.failed, "\(failed)")
            disk.heal(.read)
            try Content.write(3, to: disk.path, 0..<64 * kiB)
            try Content.write(3, to: disk.path, miB + 64 * kiB..<miB + 128 * kiB)
            let marked = try run("bitmap", "mark", disk.path, "b", "0+64K", "1088K+64K", "--json")
            #expect(try marked.report().number("dirtyBytes") == 320 * kiB, "\(marked)")
            let second = try run("incremental", disk.path, target, "--bitmap", "b", "--json")
            #expect(try second.report().number("planned") == 320 * kiB, "\(second)")
            expectSame(image, target)
            let after = try run("bitmap", "show", disk.path, "b", "--json")
            #expect(try after.report().number("dirtyBytes") == 0, "\(after)")
        }

        /// Every bad block costs its own granule and no other, however large granules are.
        @Test(arguments: [("4K", 4 * kiB), ("64K", 64 * kiB), ("1M", miB)])
        func `what can't be read is what remains`(granularity: String, bytes: Int64) throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: 4 * miB, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try scratch.image("target", size: 4 * miB, seed: 2)
            let options = ["--bitmaps", scratch.path("store")]
            func run(_ arguments: String...) throws -> Child.End {
                try scratch.run(arguments + options)
            }
            _ = try run("bitmap", "add", disk.path, "b", "--granularity", granularity)
            _ = try run("bitmap", "mark", disk.path, "b", "0-4M")
            let bad = miB + 81 * 4096
            try disk.set(.read, at: bad)
            let failed = try run(
                "incremental", disk.path, target, "--bitmap", "b", "--bitmap-mode", "always",
                "--on-source-error", "ignore")
            #expect(failed.code == Code.failed, "\(failed)")
            let left = try run("bitmap", "export", disk.path, "b", "--format", "ranges")
            #expect(left.output.hasSuffix("\n\(bad / bytes * bytes) \(bytes)\n"), "\(left)")
            disk.heal(.read)
            let second = try run("incremental", disk.path, target, "--bitmap", "b", "--json")
            #expect(try second.report().number("planned") == bytes, "\(second)")
            expectSame(image, target)
        }
    }
}
