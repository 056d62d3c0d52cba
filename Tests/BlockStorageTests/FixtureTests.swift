import TestSupport
import Testing

@testable import BlockStorage

@Suite struct ParserTests {
    @Test func `mount lines are parsed`() throws {
        let line: Substring =
            #"36 35 98:0 / /mnt/a\040b\134c rw,noatime master:1 shared:2 - ext4 /dev/x\011y rw"#
        let mount = try #require(Mount(line: line))
        #expect(mount.device == DeviceNumber(major: 98, minor: 0))
        #expect(mount.point == #"/mnt/a b\c"# && mount.source == "/dev/x\ty")
        #expect(mount.filesystem == "ext4")
    }

    @Test(arguments: [
        (#"rw,lowerdir=/a\040b:/c,upperdir=/u,workdir=/w"#, ["/u", "/a b", "/c"]),
        ("rw,lowerdir+=/a,lowerdir+=/b:c", ["/a", "/b:c"]),
        (#"rw,lowerdir=/a\134:b:/c,upperdir=/u\134\054x"#, ["/u,x", "/a:b", "/c"]),
        ("ro,lowerdir=/a::/data", ["/a", "/data"]),
    ])
    func `an overlay names its layers`(options: String, layers: [String]) throws {
        let text = "40 35 0:52 / /m rw - overlay none \(options)"
        let overlay = try #require(Mount(line: text[...]).flatMap { Overlay($0) })
        #expect(overlay.layers == layers && !overlay.isVolatile)
        #expect(overlay.places(of: "/m/d/f") == layers.map { $0 + "/d/f" })
    }

    @Test func `a bound part of an overlay is found`() throws {
        let text: Substring = "40 35 0:52 /sub /m rw - overlay none rw,lowerdir=/a,volatile"
        let overlay = try #require(Mount(line: text).flatMap { Overlay($0) })
        #expect(overlay.places(of: "/m/f") == ["/a/sub/f"] && overlay.isVolatile)
        #expect(
            Mount(line: "40 35 0:52 / /m rw - fuse none rw,lowerdir=/a").flatMap {
                Overlay($0)
            } == nil)
    }

    @Test(arguments: ["", "1 2 3", "36 35 x:0 / / rw - ext4 /dev/x rw", "1 2 8:1 / / rw a b c d"])
    func `other lines are no mounts`(line: String) { #expect(Mount(line: line[...]) == nil) }

    @Test(arguments: [
        (#"\04"#, #"\04"#), (#"\0400"#, " 0"), (#"\\"#, #"\\"#), (#"\999"#, #"\999"#),
    ])
    func `octal is undone`(text: String, expected: String) {
        #expect(unescapeOctal(text) == expected)
    }

    @Test func `device numbers are decoded`() {
        #expect(DeviceNumber(encoded: 0x0801) == DeviceNumber(major: 8, minor: 1))
        #expect(DeviceNumber(encoded: 0x10_3f05) == DeviceNumber(major: 0x3f, minor: 0x105))
        #expect(DeviceNumber("8:1") == DeviceNumber(major: 8, minor: 1))
        #expect(DeviceNumber("8:") == nil && DeviceNumber("8") == nil && DeviceNumber("") == nil)
    }
}

@Suite struct UseFixtureTests {
    @Test func `a mount above mapped storage is seen from the disk`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sda", 8, 0)
        let sibling = try machine.device("sda1", 8, 1, on: "sda", start: 2048, sectors: 2048)
        let member = try machine.device(
            "sda2", 8, 2, on: "sda", start: 4096, sectors: 8192, holders: ["md0"])
        try machine.device("md0", 9, 0, holders: ["dm-0"], slaves: ["sda2"])
        try machine.device(
            "dm-0", 252, 0, slaves: ["md0"],
            attributes: ["dm/name": "vg-root", "dm/uuid": "LVM-abc"])
        try machine.mounts("1 0 252:0 / / rw - xfs /dev/mapper/vg-root rw")
        let guarding = UseGuard(survey: try machine.survey())
        let expected: [Use] = [
            .heldBy(device: "/dev/sda2", holder: "/dev/md0"),
            .heldBy(device: "/dev/md0", holder: "/dev/mapper/vg-root"),
            .mounted(device: "/dev/mapper/vg-root", at: "/"),
        ]
        #expect(guarding.findings(on: disk).uses == expected)
        #expect(guarding.findings(on: member).uses == expected)
        #expect(guarding.findings(on: sibling).uses.isEmpty)
    }

    @Test func `a whole disk in use covers its partitions`() throws {
        let machine = try Fixture()
        try machine.device("nvme0n1", 259, 0)
        let part = try machine.device("nvme0n1p1", 259, 1, on: "nvme0n1", start: 8, sectors: 8)
        try machine.mounts("1 0 259:0 / /data rw - ext4 /dev/nvme0n1 rw")
        #expect(
            UseGuard(survey: try machine.survey()).findings(on: part).uses
                == [.mounted(device: "/dev/nvme0n1", at: "/data")])
    }

    @Test func `every member of a btrfs is in use`() throws {
        let machine = try Fixture()
        let first = try machine.device("sdb", 8, 16)
        let second = try machine.device("sdc", 8, 32)
        try machine.mounts("1 0 0:42 / /pool rw - btrfs /dev/sdb rw")
        for name in ["sdb", "sdc"] { try machine.text("/sys/fs/btrfs/1234/devices/\(name)", "") }
        let guarding = UseGuard(survey: try machine.survey())
        #expect(
            guarding.findings(on: first).uses.first == .mounted(device: "/dev/sdb", at: "/pool"))
        #expect(
            guarding.findings(on: second).uses
                == [.filesystemMember(device: "/dev/sdc", filesystem: "btrfs 1234")])
    }

    @Test func `mounts of containers count`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sdb", 8, 16)
        try machine.link("/proc/self/ns/mnt", to: "mnt:[1]")
        try machine.link("/proc/77/ns/mnt", to: "mnt:[2]")
        try machine.text("/proc/77/mountinfo", "1 0 8:16 / /inside rw - ext4 /dev/sdb rw")
        #expect(
            UseGuard(survey: try machine.survey()).findings(on: disk).uses
                == [.mounted(device: "/dev/sdb", at: "/inside")])
    }

    @Test func `swap files and exports are found`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sdb", 8, 16)
        let file = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 1), inode: 12)
        machine.node("/swap file", file)
        try machine.text(
            "/proc/swaps",
            "Filename\tType\tSize\tUsed\tPriority\n/swap\\040file file 1024 0 -2")
        let space = "/sys/kernel/config/nvmet/subsystems/store/namespaces/1"
        try machine.text(space + "/enable", "1")
        try machine.text(space + "/device_path", "/dev/sdb")
        let guarding = UseGuard(survey: try machine.survey())
        #expect(guarding.findings(on: file).uses == [.swap("/swap file")])
        #expect(
            guarding.findings(on: disk).uses
                == [.exported(device: "/dev/sdb", by: "NVMe subsystem store, namespace 1")])
    }

    @Test func `what shares the file below a loop is in the way`() throws {
        let machine = try Fixture()
        let file = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 1), inode: 12)
        let target = try machine.loop("loop0", 0, over: file, path: "/images/a (deleted)")
        _ = try machine.loop("loop1", 1, over: file, path: "/images/a (deleted)")
        try machine.mounts("1 0 7:1 / /data rw - ext4 /dev/loop1 rw")
        #expect(
            UseGuard(survey: try machine.survey()).findings(on: target).uses
                == [
                    .loop(device: "/dev/loop1", over: "/images/a (deleted)"),
                    .mounted(device: "/dev/loop1", at: "/data"),
                ])
    }

    /// The kernel gives a file of an overlay and the one that it is stored in two numbers.
    @Test(arguments: [true, false])
    func `uses of a layer count for the overlay`(isShownUsed: Bool) throws {
        let machine = try Fixture()
        let shown = NodeIdentity.file(device: DeviceNumber(major: 0, minor: 52), inode: 12)
        let stored = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 1), inode: 12)
        machine.node("/m/d/f", shown)
        machine.node("/lower/d/f", stored)
        let names = (shown: "/m/d/f", stored: "/lower/d/f")
        try machine.overlay()
        _ = try machine.loop(
            "loop0", 0, over: isShownUsed ? shown : stored,
            path: isShownUsed ? names.shown : names.stored)
        let guarding = UseGuard(survey: try machine.survey())
        let findings =
            isShownUsed
            ? guarding.findings(on: stored, at: names.stored)
            : guarding.findings(on: shown, at: names.shown)
        #expect(
            findings.uses
                == [.loop(device: "/dev/loop0", over: isShownUsed ? names.shown : names.stored)])
        #expect(findings.aliases == [isShownUsed ? shown : stored])
    }

    /// What another layer hides is another file.
    @Test func `a hidden file of a layer is apart`() throws {
        let machine = try Fixture()
        try machine.device("sda", 8, 0)
        let upper = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 1), inode: 12)
        let lower = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 1), inode: 13)
        let shown = NodeIdentity.file(device: DeviceNumber(major: 0, minor: 52), inode: 12)
        machine.node("/m/f", shown)
        machine.node("/u/f", upper)
        machine.node("/lower/f", lower)
        try machine.overlay()
        let survey = try machine.survey()
        #expect(survey.aliases(of: "/m/f") == [upper])
        #expect(survey.aliases(of: "/u/f").contains(shown))
        #expect(survey.aliases(of: "/lower/f").isEmpty)
    }

    @Test func `a blind guard says so`() throws {
        let machine = try Fixture()
        #expect(throws: Survey.Blindness.self) { try machine.survey() }
    }

    @Test func `writers are told from readers`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sdb", 8, 16)
        for (pid, flags) in [(70, "0100000"), (71, "0100002"), (72, "0100001")] {
            try machine.link("/proc/\(pid)/fd/5", to: "/dev/sdb")
            machine.node("/proc/\(pid)/fd/5", disk)
            try machine.text("/proc/\(pid)/fdinfo/5", "pos:\t0\nflags:\t\(flags)\nmnt_id:\t9")
            try machine.text("/proc/\(pid)/comm", "tool\(pid)")
        }
        #expect(
            Set(ProcessGuard.writers(to: [disk], machine.view))
                == [
                    ProcessName(pid: 71, command: "tool71"),
                    ProcessName(pid: 72, command: "tool72"),
                ])
    }

    /// A table of a thread's own, and those of threads whose first one has ended.
    @Test func `descriptors that only a thread has are found`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sdb", 8, 16)
        for (pid, threads) in [(70, [70, 71]), (80, [80, 81, 82])] {
            for thread in threads {
                try machine.text("/proc/\(pid)/task/\(thread)/comm", "tool")
            }
            let place = "/proc/\(pid)/task/\(threads.last ?? 0)"
            try machine.link("\(place)/fd/5", to: "/dev/sdb")
            machine.node("\(place)/fd/5", disk)
            try machine.text("\(place)/fdinfo/5", "pos:\t0\nflags:\t0100002")
        }
        #expect(ProcessGuard.writers(to: [disk], machine.view).map(\.pid) == [70, 80])
    }
}

@Suite struct OverlapFixtureTests {
    private func verdict(
        _ machine: Fixture, _ source: NodeIdentity, _ target: NodeIdentity,
        paths: (String, String) = ("/a", "/b")
    ) throws -> OverlapGuard.Verdict {
        OverlapGuard(survey: try machine.survey()).compare(
            source: .init(identity: source, resolvedPath: paths.0),
            target: .init(identity: target, resolvedPath: paths.1))
    }

    private func isOverlap(_ verdict: OverlapGuard.Verdict) -> Bool {
        if case .overlap = verdict { return true }
        return false
    }

    @Test func `partitions overlap by their sectors`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sda", 8, 0)
        let first = try machine.device("sda1", 8, 1, on: "sda", start: 10, sectors: 10)
        let second = try machine.device("sda2", 8, 2, on: "sda", start: 20, sectors: 10)
        let across = try machine.device("sda3", 8, 3, on: "sda", start: 15, sectors: 10)
        #expect(try verdict(machine, first, second) == .apart)
        #expect(isOverlap(try verdict(machine, first, across)))
        #expect(isOverlap(try verdict(machine, first, disk)))
        #expect(isOverlap(try verdict(machine, disk, second)))
        #expect(try verdict(machine, disk, disk) == .same)
    }

    @Test func `a file of an overlay is the one of its layer`() throws {
        let machine = try Fixture()
        try machine.device("sda", 8, 0)
        let shown = NodeIdentity.file(device: DeviceNumber(major: 0, minor: 52), inode: 12)
        let stored = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 0), inode: 12)
        let other = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 0), inode: 13)
        machine.node("/lower/d/f", stored)
        machine.node("/lower/d/g", other)
        try machine.overlay()
        let paths = ("/m/d/f", "/lower/d/f")
        #expect(try verdict(machine, shown, stored, paths: paths) == .same)
        #expect(try verdict(machine, stored, shown, paths: (paths.1, paths.0)) == .same)
        #expect(try verdict(machine, shown, other, paths: ("/m/d/f", "/lower/d/g")) == .apart)
    }

    @Test func `logical volumes keep apart and mapped copies do not`() throws {
        let machine = try Fixture()
        try machine.device("sda", 8, 0)
        let member = try machine.device("sda1", 8, 1, on: "sda", start: 10, sectors: 10)
        let volumes = try (0..<2).map { index in
            try machine.device(
                "dm-\(index)", 252, UInt32(index), slaves: ["sda1"],
                attributes: ["dm/uuid": "LVM-\(index)"])
        }
        let crypts = try (2..<4).map { index in
            try machine.device(
                "dm-\(index)", 252, UInt32(index), slaves: ["sda1"],
                attributes: ["dm/uuid": "CRYPT-\(index)"])
        }
        #expect(try verdict(machine, volumes[0], volumes[1]) == .apart)
        #expect(isOverlap(try verdict(machine, crypts[0], crypts[1])))
        #expect(isOverlap(try verdict(machine, volumes[0], crypts[0])))
        #expect(isOverlap(try verdict(machine, volumes[0], member)))
        #expect(isOverlap(try verdict(machine, member, volumes[1])))
    }

    @Test func `two paths to one disk are one disk`() throws {
        let machine = try Fixture()
        let wwid = ["device/wwid": "naa.5000c500a1b2c3d4"]
        let one = try machine.device("sda", 8, 0, attributes: wwid)
        let other = try machine.device("sdb", 8, 16, attributes: wwid)
        let part = try machine.device("sdb1", 8, 17, on: "sdb", start: 8, sectors: 8)
        #expect(try verdict(machine, one, other) == .same)
        #expect(isOverlap(try verdict(machine, one, part)))
    }

    @Test func `bridges that repeat their serial stay apart`() throws {
        let machine = try Fixture()
        let wwid = ["device/wwid": "t10.ATA cheap bridge 0123456789"]
        let one = try machine.device("sda", 8, 0, attributes: wwid)
        let other = try machine.device("sdb", 8, 16, attributes: wwid)
        #expect(try verdict(machine, one, other) == .apart)
    }

    @Test func `files lie on their disks`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sda", 8, 0)
        let part = try machine.device("sda1", 8, 1, on: "sda", start: 10, sectors: 10)
        let sibling = try machine.device("sda2", 8, 2, on: "sda", start: 20, sectors: 10)
        let number = DeviceNumber(major: 8, minor: 1)
        let one = NodeIdentity.file(device: number, inode: 1)
        let other = NodeIdentity.file(device: number, inode: 2)
        let loop = try machine.loop("loop0", 0, over: one, path: "/a")
        #expect(try verdict(machine, one, other) == .apart)
        #expect(try verdict(machine, sibling, one) == .apart)
        #expect(isOverlap(try verdict(machine, part, one)))
        #expect(isOverlap(try verdict(machine, one, disk)))
        #expect(isOverlap(try verdict(machine, loop, one)))
        #expect(isOverlap(try verdict(machine, one, loop)))
        #expect(try verdict(machine, loop, other) == .apart)
        #expect(isOverlap(try verdict(machine, disk, loop)))
    }

    @Test func `files of a btrfs are found by their mount`() throws {
        let machine = try Fixture()
        let first = try machine.device("sdb", 8, 16)
        let second = try machine.device("sdc", 8, 32)
        let apart = try machine.device("sdd", 8, 48)
        try machine.mounts(
            "1 0 8:48 / / rw - ext4 /dev/sdd rw", "2 1 0:42 / /pool rw - btrfs /dev/sdb rw")
        for name in ["sdb", "sdc"] { try machine.text("/sys/fs/btrfs/1234/devices/\(name)", "") }
        let file = NodeIdentity.file(device: DeviceNumber(major: 0, minor: 43), inode: 5)
        let paths = ("/dev/x", "/pool/a")
        #expect(isOverlap(try verdict(machine, first, file, paths: paths)))
        #expect(isOverlap(try verdict(machine, second, file, paths: paths)))
        #expect(try verdict(machine, apart, file, paths: paths) == .apart)
    }
}
