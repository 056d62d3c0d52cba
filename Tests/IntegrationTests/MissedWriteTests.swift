import Foundation
import TestSupport
import Testing

extension Integration {
    /// A source that was written while its bitmap heard nothing of it: once that shows, no target
    /// is called a mirror before it has everything.
    @Suite struct MissedWrites {
        private static let size: Int64 = 16 * miB
        /// Where a sample hardly ever looks: one sector far behind.
        private static let place = 13 * miB + 5120..<13 * miB + 5632

        private func mirrored(
            _ scratch: Scratch, _ targets: [String] = ["a"]
        ) throws -> (source: String, targets: [String]) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            for target in targets {
                try scratch.mirror(source, scratch.path(target), "--create", "--bitmap", "n")
            }
            return (source, targets.map { scratch.path($0) })
        }

        private func miss(_ source: String) throws {
            usleep(20_000)
            try Content.write(77, to: source, Self.place)
        }

        /// The sample may find it before the rule does, which is a refusal, too.
        private func expectRefused(
            _ scratch: Scratch, _ source: String, _ target: String, _ codes: [String],
            because words: String = "", sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let end = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            #expect(end.code == Code.refused, "\(end)", sourceLocation: sourceLocation)
            #expect(
                words.isEmpty || end.output.contains(words), "\(end)",
                sourceLocation: sourceLocation)
            let code = try end.report().text("code")
            #expect(
                (codes + ["otherContent"]).contains(code), "\(end)",
                sourceLocation: sourceLocation)
        }

        @Test(arguments: [["--bitmap", "n"], []])
        func `a mirror to another target does not make up for it`(bitmap: [String]) throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch, ["a", "b"])
            try miss(source)
            try expectRefused(scratch, source, targets[0], ["unmarkedWrites"])
            let full = try scratch.run(
                ["full", source, targets[1], "--overwrite"] + bitmap)
            #expect(full.code == Code.done, "\(full)")
            guard !bitmap.isEmpty else {
                return try expectRefused(scratch, source, targets[0], ["unmarkedWrites"])
            }
            #expect(full.errors.contains("without a mark in bitmap 'n'"), "\(full)")
            let report = try scratch.increment(source, targets[0], "--bitmap", "n")
            #expect(report.number("planned") == Self.size, "\(report)")
            expectSame(source, targets[0])
        }

        @Test func `an older file with its times does not have what was marked`() throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch)
            let older = scratch.path("older")
            try Shell.run("touch", "-d", "-1 hour", source)
            try Shell.run("cp", "-p", source, older)
            try miss(source)
            let mark = { (range: String) in
                let end = try scratch.run("bitmap", "mark", source, "n", range)
                #expect(end.code == Code.done, "\(end)")
            }
            try mark("\(Self.place.lowerBound)+512")
            _ = try scratch.increment(source, targets[0], "--bitmap", "n")
            try Shell.run("cp", "-p", older, source)
            try mark("0+1")
            try expectRefused(scratch, source, targets[0], ["unmarkedWrites"])
        }

        @Test func `a job that is interrupted does not make up for it`() throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch, ["a", "b"])
            try miss(source)
            let child = try scratch.start([
                "full", source, targets[1], "--overwrite", "--bitmap", "n", "--speed", "1M",
                "--json",
            ])
            #expect(child.wait(until: { $0.output.contains("start") }))
            usleep(100_000)
            child.send(SIGTERM)
            #expect(try child.wait().code == Code.interrupted, "\(child.errors)")
            for target in targets {
                let end = try scratch.run(
                    "incremental", source, target, "--bitmap", "n", "--json")
                if end.code == Code.done {
                    expectSame(source, target)
                } else {
                    #expect(end.code == Code.refused, "\(end)")
                }
            }
        }

        @Test func `comparing everything tells the other targets`() throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch, ["a", "b"])
            try miss(source)
            let end = try scratch.run(
                "incremental", source, targets[0], "--bitmap", "n", "--verify=all")
            // A sample may have found it before.
            #expect([Code.different, Code.refused].contains(end.code), "\(end)")
            guard end.code == Code.different else { return }
            for target in targets {
                let end = try scratch.run(
                    "incremental", source, target, "--bitmap", "n", "--json")
                if end.code == Code.done { expectSame(source, target) }
            }
        }

        @Test func `what was written while the bitmap was disabled is missed`() throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch)
            try scratch.bitmap("disable", source, "n")
            try miss(source)
            try expectRefused(scratch, source, targets[0], ["unmarkedWrites"])
            try scratch.bitmap("enable", source, "n")
            try scratch.bitmap("mark", source, "n", "0+64K")
            let report = try scratch.increment(source, targets[0], "--bitmap", "n")
            #expect(report.number("planned") == Self.size, "\(report)")
            expectSame(source, targets[0])
        }

        @Test func `a bitmap that was disabled while nothing was written has missed nothing`()
            throws
        {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch)
            usleep(20_000)
            try Content.write(5, to: source, 0..<64 * kiB)
            try scratch.bitmap("mark", source, "n", "0+64K")
            try scratch.bitmap("disable", source, "n")
            try scratch.bitmap("enable", source, "n")
            let report = try scratch.increment(source, targets[0], "--bitmap", "n")
            #expect(report.number("planned") == 64 * kiB, "\(report)")
            expectSame(source, targets[0])
        }

        @Test func `a job that failed because of it is not made good by the next one`() throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch)
            usleep(20_000)
            try Content.write(5, to: source, 0..<2 * miB)
            try scratch.bitmap("mark", source, "n", "0+2M")
            let child = try scratch.start([
                "incremental", source, targets[0], "--bitmap", "n", "--speed", "2M", "--json",
            ])
            #expect(child.wait(until: { $0.output.contains("start") }))
            try miss(source)
            #expect(try child.wait().code == Code.failed, "\(child.errors)")
            try expectRefused(scratch, source, targets[0], ["unmarkedWrites"])
        }

        @Test func `a bitmap tells no unknown target what it lacks once marks were taken`() throws {
            let scratch = try Scratch()
            let (source, targets) = try mirrored(scratch)
            usleep(20_000)
            try Content.write(5, to: source, Self.place)
            try scratch.bitmap("mark", source, "n", "\(Self.place.lowerBound)+512")
            try scratch.bitmap("clear", source, "n")
            try scratch.bitmap("forget", source, "n", "--target", targets[0])
            try expectRefused(scratch, source, targets[0], ["marksTaken"])
            try scratch.mirror(source, targets[0], "--overwrite", "--bitmap", "n")
            try scratch.increment(source, targets[0], "--bitmap", "n")
        }

        @Test func `an interrupted mirror that a cleared bitmap has forgotten is no mirror`() throws
        {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            let child = try scratch.start([
                "full", source, scratch.path("t"), "--create", "--bitmap", "n", "--speed", "2M",
                "--json",
            ])
            #expect(child.wait(until: { $0.output.contains("start") }))
            usleep(300_000)
            child.send(SIGTERM)
            #expect(try child.wait().code == Code.interrupted, "\(child.errors)")
            try scratch.bitmap("clear", source, "n")
            try expectRefused(scratch, source, scratch.path("t"), ["marksTaken", "halfMirror"])
        }

        @Test(arguments: ["source", "target", "other"])
        func `a comparison knows both its sides`(changed: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            try FileManager.default.copyItem(atPath: source, toPath: target)
            try Content.write(3, to: target, 0..<64 * kiB)
            let other = scratch.path("other")
            try FileManager.default.copyItem(atPath: target, toPath: other)
            try Content.write(4, to: other, Self.place)
            usleep(20_000)
            #expect(
                try scratch.run("bitmap", "diff", source, target, "--into", "n").code == Code.done)
            switch changed {
            case "source":
                try miss(source)
                try expectRefused(scratch, source, target, ["unmarkedWrites"])
            case "target":
                try miss(target)
                try expectRefused(scratch, source, target, ["foreignWrites"])
            default: try expectRefused(scratch, source, other, ["otherTarget"])
            }
            guard changed == "other" else { return }
            let report = try scratch.increment(source, target, "--bitmap", "n")
            #expect(report.number("planned") == 64 * kiB, "\(report)")
            expectSame(source, target)
        }

        @Test(
            .enabled(if: Shell.has("qemu-img", "qemu-io")), arguments: [false, true])
        func `what is written below an image no bitmap marks`(isData: Bool) throws {
            let scratch = try Scratch()
            let below = try scratch.image("below", size: Self.size, seed: 1)
            let source = scratch.path("source.qcow2")
            if isData {
                try Shell.run(
                    "qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", "-o",
                    "data_file=\(scratch.path("data")),data_file_raw=on", below, source)
            } else {
                try Shell.run(
                    "qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "raw", source)
            }
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            try miss(isData ? scratch.path("data") : below)
            let words = isData ? "nothing was marked" : "no mark tells"
            try expectRefused(scratch, source, target, ["unmarkedWrites"], because: words)
            // A mark explains the one; what is below is no write to the image.
            try scratch.bitmap("mark", source, "n", "0+64K")
            let marked = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            // Now and then the sample finds what a mark has explained.
            if isData, marked.output.contains("otherContent") { return }
            #expect(marked.code == (isData ? Code.done : Code.refused), "\(marked)")
            #expect(isData || marked.output.contains(words), "\(marked)")
        }

        @Test(.enabled(if: Shell.has("qemu-img", "qemu-io")), arguments: [false, true])
        func `a bitmap in an image that took no marks has missed what was written`(
            isEnabledAgain: Bool
        ) throws {
            let scratch = try Scratch()
            let source = scratch.path("source.qcow2")
            try Shell.run("qemu-img", "create", "-q", "-f", "qcow2", source, "\(Self.size)")
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            try scratch.bitmap("disable", source, "n")
            let untouched = try scratch.run("incremental", source, target, "--bitmap", "n")
            #expect(untouched.code == Code.done, "\(untouched)")
            usleep(20_000)
            try Shell.run("qemu-io", "-f", "qcow2", "-c", "write -P 7 9M 4K", source)
            if isEnabledAgain {
                try scratch.bitmap("enable", source, "n")
                let report = try scratch.increment(source, target, "--bitmap", "n")
                #expect(report.number("planned") == Self.size, "\(report)")
            } else {
                try expectRefused(
                    scratch, source, target, ["unmarkedWrites"], because: "takes no marks")
            }
        }

        @Test func `a copy of several moments is no proven mirror`() throws {
            let scratch = try Scratch()
            let (source, _) = try mirrored(scratch)
            let target = scratch.path("mixed")
            let child = try scratch.start([
                "full", source, target, "--create", "--bitmap", "n", "--allow-source-in-use",
                "--speed", "8M", "--json",
            ])
            #expect(child.wait(until: { $0.output.contains("start") }))
            usleep(20_000)
            try miss(source)
            let end = try child.wait()
            #expect(end.code == Code.done && end.output.contains("mixedPointsInTime"), "\(end)")
            try expectRefused(scratch, source, target, ["unmarkedWrites"])
            try scratch.bitmap("mark", source, "n", "0+64K")
            let next = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            if next.code == Code.done {
                #expect(next.output.contains("notProven"), "\(next)")
                #expect(next.output.contains("mixes points in time"), "\(next)")
            }
        }
    }
}
