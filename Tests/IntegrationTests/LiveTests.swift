import Foundation
import TestSupport
import Testing

enum LiveRig {
    /// Whether disks can be tracked here: by root, with a kernel that has what that needs.
    static let isAvailable: Bool = {
        guard LoopDevice.isAvailable, access("/sys/kernel/btf/vmlinux", R_OK) == 0,
            let scratch = try? Scratch(), let disk = try? scratch.loop(size: 1 << 20),
            let start = try? scratch.run(["track", "start", disk.path, "--bitmap", "n"])
        else { return false }
        _ = try? scratch.run(["track", "stop", disk.path])
        return start.code == Code.done
    }()
}

extension Integration {
    /// Disks in use: tracked by the kernel, and mirrored while they are written.
    @Suite(.serialized, .enabled(if: LiveRig.isAvailable)) struct Live {
        private static let size: Int64 = 96 << 20

        private func disks(_ scratch: Scratch) throws -> (source: String, target: String) {
            let source = try scratch.loop(size: Self.size, directIO: true)
            let target = try scratch.loop(size: Self.size, directIO: true)
            return (source.path, target.path)
        }

        private func track(_ scratch: Scratch, _ disk: String) throws {
            let start = try scratch.run("track", "start", disk, "--bitmap", "n")
            #expect(start.code == Code.done, "\(start)")
            scratch.onCleanup { _ = try? $0.run("track", "stop", disk) }
        }

        private func write(_ disk: String, at block: Int) throws {
            try Shell.run(
                "dd", "if=/dev/urandom", "of=\(disk)", "bs=64k", "count=2", "seek=\(block)",
                "oflag=direct", "conv=notrunc")
        }

        /// A live mirror of a tracked disk that was killed in the middle: its options.
        private func killedLive(
            _ scratch: Scratch, _ source: String, _ target: String
        ) throws -> [String] {
            try Shell.run("sh", "-c", "head -c \(Self.size) /dev/urandom > \(source)")
            try track(scratch, source)
            let options = [source, target, "--complete-command", "true", "--bitmap", "n"]
            let first = try scratch.start(
                ["live"] + options + ["--speed", "10M", "--checkpoint", "0.2"])
            usleep(4_000_000)
            #expect(first.isRunning, "\(first.errors)")
            first.send(SIGKILL)
            _ = try first.wait(seconds: 10)
            return options
        }

        /// Mounts a disk that may be frozen when the test ends.
        private func mount(_ scratch: Scratch, _ disk: String) throws -> String {
            let place = try scratch.mount(disk)
            scratch.onCleanup { _ in _ = try? Shell.run("fsfreeze", "-u", place) }
            return place
        }

        private func areSame(_ one: String, _ other: String) -> Bool {
            (try? Shell.run("cmp", one, other)) != nil
        }

        @Test func `an increment has all that was written to a tracked disk`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try track(scratch, source)
            try write(source, at: 3)
            try scratch.mirror(source, target, "--bitmap", "n")
            for round in 0..<3 {
                try write(source, at: 100 * round + 7)
                let next = try scratch.run(
                    "incremental", source, target, "--bitmap", "n", "--json")
                #expect(next.code == Code.done, "\(next)")
                #expect(try next.report().number("planned") == 131072, "\(next)")
                #expect(try next.report().evidence.contains("tracked"), "\(next)")
                #expect(areSame(source, target))
            }
            let clean = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            #expect(try clean.report().text("claim") == "nothingCopied", "\(clean)")
        }

        @Test func `a disk that is tracked for another store stays so`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try track(scratch, source)
            try scratch.mirror(source, target, "--bitmap", "n")
            let other = ["--bitmap", "m", "--bitmaps", scratch.path("other")]
            let second = try scratch.run(["track", "start", source, "--json"] + other)
            #expect(second.code == Code.refused, "\(second)")
            #expect(second.output.contains("trackerInUse"), "\(second)")
            #expect(second.output.contains("another store"), "\(second)")
            try write(source, at: 9)
            let next = try scratch.run("incremental", source, target, "--bitmap", "n")
            #expect(next.code == Code.done && areSame(source, target), "\(next)")
        }

        @Test func `a bitmap whose tracker is gone is refused until a full mirror`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try track(scratch, source)
            try scratch.mirror(source, target, "--bitmap", "n")
            let status = try scratch.run("track", "status", source, "--json")
            #expect(status.output.contains("\"tracked\":true"), "\(status)")
            let name = source.replacing("/dev/", with: "")
            let number = try Shell.run("cat", "/sys/block/\(name)/dev")
                .trimmingCharacters(in: .whitespacesAndNewlines).replacing(":", with: "-")
            unlink("/sys/fs/bpf/ringmirror/disk-\(number)/request_link_1")
            try write(source, at: 50)
            let refused = try scratch.run("incremental", source, target, "--bitmap", "n")
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(refused.errors.contains("inconsistent"), "\(refused)")
            #expect(refused.errors.contains("--only-differences"), "\(refused)")
            try scratch.mirror(source, target, "--bitmap", "n", "--only-differences")
            #expect(areSame(source, target))
            try track(scratch, source)
            try write(source, at: 60)
            let next = try scratch.run("incremental", source, target, "--bitmap", "n")
            #expect(next.code == Code.done && areSame(source, target), "\(next)")
        }

        /// The comparison is made before the writers go on.
        @Test(arguments: ["ext4", "xfs"])
        func `a disk that is written is what it was at one moment`(filesystem: String) throws {
            let scratch = try Scratch()
            let size: Int64 = filesystem == "xfs" ? 320 << 20 : Self.size
            let source = try scratch.loop(size: size, directIO: true).path
            let target = try scratch.loop(size: size, directIO: true).path
            try Shell.run("mkfs.\(filesystem)", "-q", filesystem == "ext4" ? "-F" : "-f", source)
            let place = try mount(scratch, source)
            let writer = try Child(
                [
                    "sh", "-c",
                    """
                    i=0; while :; do i=$((i + 1)); f=$0/f$((i % 7))
                    dd if=/dev/urandom of=$f bs=37k count=$((i % 40 + 1)) conv=notrunc,fsync
                    [ $((i % 5)) = 0 ] && rm -f $0/f$((i % 3)); done
                    """, place,
                ], in: scratch)
            defer { writer.kill(group: SIGKILL) }
            let live = try scratch.run(
                "live", source, target, "--freeze", "--max-pause", "60s", "--verify=all", "--json")
            #expect(live.code == Code.done, "\(live)")
            let report = try live.report()
            #expect(report.text("claim") == "mirror" && report.flag("flushed") == true, "\(live)")
            #expect(report.evidence.contains("provenMoment"), "\(live)")
            #expect(report.evidence.contains("allCompared"), "\(live)")
            // It can be written again.
            try Shell.run("sh", "-c", "echo > \(place)/thawed && sync -f \(place)")
        }

        @Test func `a disk that is never unmounted has its increments`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try Shell.run("mkfs.ext4", "-q", "-F", source)
            try track(scratch, source)
            let place = try mount(scratch, source)
            let options = ["--freeze", "--bitmap", "n", "--max-pause", "60s", "--verify=all"]
            let full = try scratch.run(["live", source, target, "--overwrite"] + options)
            #expect(full.code == Code.done, "\(full)")
            for round in 0..<3 {
                try Shell.run(
                    "sh", "-c", "head -c 300K /dev/urandom > \(place)/f\(round); sync -f \(place)")
                let next = try scratch.run(
                    ["live", source, target, "--incremental", "--json"] + options)
                #expect(next.code == Code.done, "\(next)")
                #expect(try next.report().evidence.contains("provenMoment"), "\(next)")
                let planned = try next.report().number("planned") ?? .max
                #expect(planned < Self.size / 2, "\(next)")
            }
        }

        /// What was written after the death of the first one is marked by the kernel.
        @Test func `a live mirror that was killed goes on where it was`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            let options = try killedLive(scratch, source, target)
            for block in [0, 100, 900] { try write(source, at: block) }
            let next = try scratch.run(["live", "--resume", "--json"] + options)
            #expect(next.code == Code.done && areSame(source, target), "\(next)")
            let planned = try next.report().number("planned") ?? .max
            #expect(planned < Self.size, "\(next)")
            #expect(try next.report().evidence.contains("provenMoment"), "\(next)")
            try write(source, at: 50)
            let last = try scratch.run("incremental", source, target, "--bitmap", "n")
            #expect(last.code == Code.done && areSame(source, target), "\(last)")
            let bare = try scratch.run(
                "live", source, target, "--complete-command", "true", "--resume")
            #expect(bare.code == Code.usage && bare.errors.contains("--bitmap"), "\(bare)")
        }

        @Test func `what a bitmap does not know is gone on from only if the user says so`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try track(scratch, source)
            try write(target, at: 3)
            let options = [
                "live", source, target, "--complete-command", "true", "--bitmap", "n",
                "--incremental", "--overwrite",
            ]
            let unknown = try scratch.run(options)
            #expect(unknown.code == Code.refused, "\(unknown)")
            #expect(unknown.errors.contains("--new-target"), "\(unknown)")
            let vouched = try scratch.run(options + ["--new-target", "--verify=all"])
            #expect(vouched.code == Code.different, "\(vouched)")
            let useless = try scratch.run(
                "live", source, target, "--freeze", "--new-target", "--bitmap", "n")
            #expect(useless.code == Code.usage, "\(useless)")
        }

        @Test func `what a tracker has lost is told by whatever finds it`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try track(scratch, source)
            let knob = "/sys/block/\(source.replacing("/dev/", with: ""))/queue/iostats"
            try Shell.run("sh", "-c", "echo 0 > \(knob)")
            try write(source, at: 4)
            try Shell.run("sh", "-c", "echo 1 > \(knob)")
            let second = try scratch.run("track", "start", source, "--bitmap", "m")
            #expect(second.code == Code.done && second.errors.contains("iostats"), "\(second)")
            for command in [["live", "--complete-command", "true"], ["incremental"]] {
                let next = try scratch.run(command + [source, target, "--bitmap", "n"])
                #expect(next.code == Code.refused, "\(next)")
                #expect(next.errors.contains("inconsistent"), "\(next)")
            }
        }

        @Test func `a live mirror does not go on over a gap in the tracking`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            let options = try killedLive(scratch, source, target)
            _ = try scratch.run("track", "stop", source)
            try write(source, at: 0)
            let again = try scratch.run("track", "start", source, "--bitmap", "n")
            #expect(again.code == Code.done, "\(again)")
            let next = try scratch.run(["live", "--resume"] + options)
            #expect(next.code == Code.refused, "\(next)")
            let anew = try scratch.run(["live", "--overwrite"] + options)
            #expect(anew.code == Code.done && areSame(source, target), "\(anew)")
        }

        @Test func `a copy follows until its source is unmounted`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            try Shell.run("mkfs.ext4", "-q", "-F", source)
            let place = try scratch.mount(source)
            let live = try scratch.start(["live", source, target, "--until-unmounted"])
            try Shell.run("sh", "-c", "head -c 3M /dev/urandom > \(place)/f; sync -f \(place)")
            try Shell.run("umount", place)
            let end = try live.wait()
            #expect(end.code == Code.done && areSame(source, target), "\(end)")
        }

        @Test func `what can't be held back or seen is refused`() throws {
            let scratch = try Scratch()
            let (source, target) = try disks(scratch)
            let file = try scratch.image("file", size: Self.size, seed: 1)
            let ofFile = try scratch.run("live", file, target, "--freeze", "--overwrite")
            #expect(ofFile.code == Code.usage && ofFile.errors.contains("losetup"), "\(ofFile)")
            let unsaid = try scratch.run("live", source, target)
            #expect(unsaid.code == Code.usage && unsaid.errors.contains("--freeze"), "\(unsaid)")
            let failed = try scratch.run(
                "live", source, target, "--complete-command", "exit 7")
            #expect(failed.code == Code.failed && failed.errors.contains("code 7"), "\(failed)")
            let tooShort = try scratch.run(
                "live", source, target, "--freeze", "--overwrite", "--verify=all", "--max-pause",
                "1ms")
            #expect(tooShort.code == Code.usage && tooShort.errors.contains("pause"), "\(tooShort)")
            let stopped = try scratch.run("live", source, target, "--complete-command", "true")
            #expect(stopped.code == Code.done && areSame(source, target), "\(stopped)")
        }
    }
}
