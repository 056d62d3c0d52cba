import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// `bench transfer`: that it measures what it says, writes where it may, and reads elsewhere.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Transfers {
        static let size = 8 * miB + 4096 + 513
        static let patterns = ["random", "clumped", "sequential"]

        @Test func `events of a benchmark`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let before = try Content.fingerprint(source)
            let end = try scratch.run(
                "bench", "transfer", source, target, "--overwrite", "--json", "--shares",
                "1,50,100", "--rounds",
                "2", "--clump", "256K", "--granularity", "4K")
            #expect(end.code == Code.done, "\(end)")
            #expect(try Content.fingerprint(source) == before)
            expectSame(source, target)
            let events = end.events
            #expect(
                events.compactMap(\.kind).filter { $0 != "progress" }
                    == ["start", "transferWarmUp"] + Array(repeating: "transfer", count: 20)
                    + ["transferSummary"])
            #expect(events.first?.text("command") == "bench transfer")
            let transfers = events.filter { $0.kind == "transfer" }
            expectEachCaseOnce(transfers)
            for event in transfers { expectSound(event) }
            try expectSummary(of: transfers, try #require(events.last))
        }

        /// In each round the full mirror, and each pattern with each share.
        private func expectEachCaseOnce(_ transfers: [Event]) {
            let expected =
                ["full - -"]
                + Self.patterns.flatMap { pattern in
                    ["0.01", "0.5", "1.0"].map { "incremental \(pattern) \($0)" }
                }
            for round in 1...2 as ClosedRange<Int64> {
                let found = transfers.filter { $0.number("round") == round }.map(name)
                #expect(found.sorted() == expected.sorted())
            }
        }

        private func name(_ event: Event) -> String {
            let share = (event.fields["share"] as? NSNumber).map { "\($0.doubleValue)" } ?? "-"
            return "\(event.text("mode") ?? "?") \(event.text("pattern") ?? "-") \(share)"
        }

        /// Every page holds data, so that all that is dirty is read and written.
        private func expectSound(_ event: Event) {
            let granule = 4 * kiB
            let granules = (Self.size - 1) / granule + 1
            let share = (event.fields["share"] as? NSNumber)?.doubleValue ?? 1
            let count = Int64((share * Double(granules)).rounded())
            let dirty = event.number("dirtyBytes") ?? -1
            // The last granule has 513 bytes, and may be among them.
            #expect([count * granule, (count - 1) * granule + 513].contains(dirty), "\(event)")
            #expect(event.number("planned") == dirty, "\(event)")
            #expect(event.number("read") == dirty, "\(event)")
            #expect(event.number("written") == dirty, "\(event)")
            #expect(event.number("zeroed") == 0 && event.number("skipped") == 0, "\(event)")
            let seconds = (event.fields["seconds"] as? NSNumber)?.doubleValue ?? 0
            #expect(seconds > 0)
            #expect(event.number("bytesPerSecond") ?? 0 > 0)
        }

        private func expectSummary(of transfers: [Event], _ summary: Event) throws {
            #expect(summary.number("size") == Self.size)
            #expect(summary.number("granularity") == 4 * kiB)
            #expect(summary.number("seed") == 1)
            #expect(summary.number("rounds") == 2)
            let cases = try #require(summary.fields["cases"] as? [[String: Any]])
            #expect(cases.count == 10)
            #expect(cases.first?["mode"] as? String == "full")
            for fields in cases {
                let seconds = try #require(fields["seconds"] as? Double)
                let measured = transfers.filter {
                    $0.text("pattern") == fields["pattern"] as? String
                        && $0.fields["share"] as? Double == fields["share"] as? Double
                }.compactMap { $0.fields["seconds"] as? Double }
                #expect(measured.count == 2)
                #expect(abs(measured.reduce(0, +) / 2 - seconds) < 1e-9)
            }
            let crossings = try #require(summary.fields["crossings"] as? [[String: Any]])
            #expect(crossings.map { $0["pattern"] as? String } == Self.patterns)
            for crossing in crossings {
                if let share = crossing["share"] as? Double {
                    #expect((0.01...1).contains(share))
                }
            }
        }

        @Test func `what a person reads`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = scratch.path("target")
            let end = try scratch.run(
                "bench", "transfer", source, target, "--create", "--verify", "--progress",
                "--patterns", "sequential,random", "--shares", "100,0.1", "--seed", "9")
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
            let lines = end.output.split(separator: "\n").filter { !$0.contains(scratch.path) }
            #expect(lines.allSatisfy { $0.count <= 80 }, "\(end)")
            for words in ["seed 9", "not counted", "identical"] {
                #expect(end.output.contains(words), "\(words) in \(end)")
            }
            for start in ["full ", "random ", "sequential ", "random:", "sequential:"] {
                #expect(lines.contains { $0.hasPrefix(start) }, "\(start) in \(end)")
            }
            #expect(!end.output.contains("clumped"))
            #expect(end.errors.contains("/5 sequential 0.1 %:"), "\(end)")
        }

        @Test func `refused as any other mirror is`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let small = try scratch.image("small", size: miB - 4096, seed: 2)
            let before = try Content.fingerprint(small)
            let end = try scratch.run("bench", "transfer", source, small, "--overwrite")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("too small"), "\(end)")
            #expect(try Content.fingerprint(small) == before)
            let missing = try scratch.run("bench", "transfer", source, scratch.path("missing"))
            #expect(missing.code == Code.refused, "\(missing)")
            let same = try scratch.run("bench", "transfer", source, source, "--overwrite")
            #expect(same.code == Code.refused, "\(same)")
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `a signature is refused without --overwrite`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 4 * miB, seed: 1)
            let target = try scratch.file("target", size: 4 * miB)
            try Shell.run("mkfs.ext4", "-q", "-F", target)
            let before = try Content.fingerprint(target)
            let arguments = ["bench", "transfer", source, target, "--shares", "10"]
            let refused = try scratch.run(arguments)
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(refused.errors.contains("--overwrite"), "\(refused)")
            #expect(try Content.fingerprint(target) == before)
            // What is written is marked in the bitmaps of the target, as by any other mirror.
            try scratch.bitmap("add", target, "n")
            let end = try scratch.run(arguments + ["--overwrite"])
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
            #expect(try scratch.dirtyBytes(target, "n") == 4 * miB)
        }

        @Test(
            arguments: [
                ["--granularity", "1000"], ["--granularity", "4G"], ["--shares", "0"],
                ["--shares", "1,101"], ["--patterns", "all"], ["--rounds", "0"], ["--clump", "0"],
                ["--depth", "0"],
            ])
        func `wrong options make no target`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = scratch.path("target")
            let end = try scratch.run(["bench", "transfer", source, target, "--create"] + options)
            #expect(end.code == Code.usage, "\(end)")
            #expect(end.errors.contains(options[0].dropFirst(2)), "\(end)")
            #expect(access(target, F_OK) != 0)
        }

        @Test func `an empty source makes no target`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: 0)
            let target = scratch.path("target")
            let end = try scratch.run("bench", "transfer", source, target, "--create")
            #expect(end.code == Code.usage, "\(end)")
            #expect(access(target, F_OK) != 0)
        }

        @Test func `an interrupt stops cleanly, whichever job it meets`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 4 * miB, seed: 1)
            let target = try scratch.image("target", size: 4 * miB, seed: 2)
            let child = try scratch.start([
                "bench", "transfer", source, target, "--overwrite", "--json", "--rounds", "1000",
                "--shares", "1,10",
            ])
            #expect(child.wait(until: { $0.output.contains("\"event\":\"transfer\"") }))
            child.send(SIGINT)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.errors.contains("interrupted"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(try end.report().text("outcome") == "cancelled")
            #expect(!end.events.contains { $0.kind == "transferSummary" })
        }

        /// The promise that the target is zero is true of the first job only.
        @Test func `a zero target is one only once`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 2 * miB, seed: 1)
            try Content.zeros(to: source, miB..<2 * miB)
            let target = try scratch.file("target", size: 2 * miB)
            try Content.zeros(to: target, 0..<2 * miB)
            let end = try scratch.run(
                "bench", "transfer", source, target, "--target-is-zero", "--json", "--shares",
                "100", "--patterns", "random")
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
            let transfers = end.events.filter { $0.kind == "transfer" }
            // No hole was known before the first measured job, which had to make one.
            #expect(transfers.map { $0.number("zeroed") } == [miB, 0], "\(end)")
            #expect(transfers.map { $0.number("skipped") } == [0, miB], "\(end)")
        }
    }
}

extension Integration {
    @Suite(.serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct TransferGuards {
        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `a mounted disk is refused`() throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: 8 * miB, seed: 1)
            let target = try scratch.loop(size: 8 * miB)
            try Shell.run("mkfs.ext4", "-q", "-F", target.path)
            let point = try scratch.mount(target.path)
            let end = try scratch.run(
                "bench", "transfer", source.path, target.path, "--overwrite")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains(point), "\(end)")
        }
    }
}
