import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Guards against real devices. Serialized, because their state belongs to the whole machine.
@Suite(.serialized, .enabled(if: Machine.canUseLoops, Machine.needsLoops))
struct GuardTests {
    private let scratch: Scratch
    private let source: StorageDevice

    init() throws {
        scratch = try Scratch()
        source = try openSource(scratch.file("source", size: 64 * mebibyte))
    }

    private func uses(of target: String) -> [Use] {
        guard case .targetInUse(_, let uses)? = refusal({ try openTarget(target, for: source) })
        else {
            Issue.record("\(target) was not found in use")
            return []
        }
        return uses
    }

    @Test func `an empty disk is taken and released`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        do {
            let target = try openTarget(loop.path, for: source)
            #expect(target.access == .readWrite && target.kind == .disk)
            // The claim lasts for the run: nobody else can mount it or take it.
            #expect(storageError { try openSource(loop.path) }?.category == .refused)
            #expect(access(loop.path, F_OK) == 0)
            withExtendedLifetime(target) {}
        }
        _ = try openTarget(loop.path, for: source)
    }

    @Test func `a mounted disk is refused`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        try Shell.run("mkfs.ext4", "-q", loop.path)
        let point = try scratch.mount(loop.path)
        #expect(uses(of: loop.path) == [.mounted(device: loop.path, at: point)])
        #expect(uses(of: loop.backing).last == .mounted(device: loop.path, at: point))
        let refused = refusal { try openSource(loop.path) }
        #expect(
            refused
                == .sourceInUse(
                    source: FilePath(loop.path), uses: [.mounted(device: loop.path, at: point)]))
        let anyway = try openSource(loop.path, SourceOptions(allowSourceInUse: true))
        #expect(anyway.warnings.contains { $0.contains(point) })
    }

    @Test(.enabled(if: Machine.has("mkfs.btrfs"), "needs mkfs.btrfs"))
    func `a mounted btrfs is refused`() throws {
        let one = try scratch.loop(size: 128 * mebibyte)
        let two = try scratch.loop(size: 128 * mebibyte)
        try Shell.run("mkfs.btrfs", "-q", "-m", "single", "-d", "single", one.path, two.path)
        let point = try scratch.mount(one.path, options: "device=\(two.path)")
        #expect(uses(of: one.path).contains(.mounted(device: one.path, at: point)))
        guard case .filesystemMember? = uses(of: two.path).first else {
            Issue.record("the second member was not recognised")
            return
        }
        // A file inside it lies on both disks.
        let image = point + "/image"
        let disk = try openSource(
            two.path, SourceOptions(allowSourceInUse: true))
        guard
            case .overlaps? = refusal({
                try openTarget(image, for: disk, TargetOptions(create: true))
            })
        else {
            Issue.record("an image on its own source was accepted")
            return
        }
        // What the refused call had made is gone again.
        #expect(access(image, F_OK) != 0)
    }

    @Test func `active swap is refused`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        try Shell.run("mkswap", loop.path)
        try Shell.run("swapon", loop.path)
        let path = loop.path
        scratch.onCleanup { _ in _ = try? Shell.run("swapoff", path) }
        #expect(uses(of: loop.path) == [.swap(loop.path)])
    }

    @Test func `an active swap file is refused`() throws {
        let path = scratch.path("swapfile")
        try Shell.run("dd", "if=/dev/zero", "of=\(path)", "bs=1M", "count=64", "status=none")
        chmod(path, 0o600)
        try Shell.run("mkswap", path)
        try Shell.run("swapon", path)
        scratch.onCleanup { _ in _ = try? Shell.run("swapoff", path) }
        #expect(uses(of: path) == [.swap(path)])
    }

    @Test func `partitions protect their disk and not each other`() throws {
        let loop = try scratch.loop(size: 132 * mebibyte)
        let first = try loop.addPartition(1, start: 2048, sectors: 64 * 2048)
        let second = try loop.addPartition(2, start: 66 * 2048, sectors: 64 * 2048)
        try Shell.run("mkfs.ext4", "-q", first)
        let point = try scratch.mount(first)
        #expect(uses(of: loop.path) == [.mounted(device: first, at: point)])
        _ = try openTarget(second, for: source)
    }

    @Test func `a partition of the source is refused`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        let part = try loop.addPartition(1, start: 2048, sectors: 2048)
        let sibling = try loop.addPartition(2, start: 4096, sectors: 2048)
        for (one, other) in [(loop.path, part), (part, loop.path)] {
            let source = try openSource(one)
            guard case .overlaps? = refusal({ try openTarget(other, for: source) }) else {
                Issue.record("\(other) was accepted for \(one)")
                return
            }
        }
        _ = try openTarget(sibling, for: try openSource(part))
    }

    @Test func `the same disk under another name is refused`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        let link = scratch.path("by-id")
        try #require(symlink(loop.path, link) == 0)
        let source = try openSource(loop.path)
        #expect(
            refusal { try openTarget(link, for: source) }
                == .sourceIsTarget(source: FilePath(loop.path), target: FilePath(link)))
    }

    @Test func `loops and their files are one storage`() throws {
        let image = try scratch.file("image", size: 64 * mebibyte)
        let file = try openSource(image)
        let loop = try scratch.loop(over: image)
        guard case .overlaps? = refusal({ try openTarget(loop.path, for: file) }) else {
            Issue.record("a loop device over the source was accepted")
            return
        }
        let disk = try openSource(loop.path)
        guard case .overlaps? = refusal({ try openTarget(image, for: disk) }) else {
            Issue.record("the file below the source was accepted")
            return
        }
        #expect(uses(of: image) == [.loop(device: loop.path, over: image)])
    }

    @Test func `a stack of loops is seen through`() throws {
        let bottom = try scratch.loop(size: 64 * mebibyte)
        let top = try scratch.loop(over: bottom.path)
        try Shell.run("mkfs.ext4", "-q", top.path)
        let point = try scratch.mount(top.path)
        #expect(
            uses(of: bottom.path) == [
                .loop(device: top.path, over: bottom.path), .mounted(device: top.path, at: point),
            ])
        // The other way: another loop device over what is mounted further up.
        let beside = try scratch.loop(over: bottom.path)
        #expect(uses(of: beside.path).contains(.mounted(device: top.path, at: point)))
    }

    @Test func `a disk of no size is no source`() throws {
        let loop = try scratch.loop(size: mebibyte)
        loop.detach()
        #expect(storageError { try openSource(loop.path) } == .noMedium(path: FilePath(loop.path)))
    }

    @Test func `a claim without a trace is respected`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        let claim = open(loop.path, O_RDONLY | O_EXCL | O_CLOEXEC)
        try #require(claim >= 0)
        defer { close(claim) }
        #expect(uses(of: loop.path) == [.claimed(device: loop.path, by: [])])
        guard case .sourceInUse? = refusal({ try openSource(loop.path) }) else {
            Issue.record("a claimed disk was taken for a source")
            return
        }
    }

    @Test func `a read-only disk is refused`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte, readOnly: true)
        guard case .readOnlyTarget? = refusal({ try openTarget(loop.path, for: source) }) else {
            Issue.record("a read-only disk was accepted")
            return
        }
    }

    @Test func `a plain writer is named`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        let holder = try Holder(writing: loop.path)
        let process = ProcessName(pid: holder.pid, command: "sleep")
        #expect(
            refusal { try openTarget(loop.path, for: source) }
                == .openByProcess(target: FilePath(loop.path), processes: [process]))
    }

    @Test func `sizes of disks must match`() throws {
        let loop = try scratch.loop(size: 32 * mebibyte)
        guard case .targetTooSmall? = refusal({ try openTarget(loop.path, for: source) }) else {
            Issue.record("a small disk was accepted")
            return
        }
        let large = try scratch.loop(size: 65 * mebibyte)
        guard case .targetLarger? = refusal({ try openTarget(large.path, for: source) }) else {
            Issue.record("a larger disk was accepted")
            return
        }
        _ = try openTarget(large.path, for: source, TargetOptions(allowLarger: true))
    }

    @Test func `the lock of another is respected`() throws {
        let loop = try scratch.loop(size: 64 * mebibyte)
        let descriptor = open(loop.path, O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        try #require(flock(descriptor, LOCK_EX) == 0)
        guard
            case .lockedByOther(_, let holder)? = refusal({
                try openTarget(loop.path, for: source)
            })
        else {
            Issue.record("a locked disk was accepted")
            return
        }
        #expect(holder?.pid == Int(getpid()))
    }

    @Test(arguments: ["ext4", "xfs", "swap", "gpt", "dos"])
    func `what a disk carries is refused by name`(kind: String) throws {
        let size: Int64 = kind == "xfs" ? 320 : 64
        let source = try openSource(scratch.file("matching", size: size * mebibyte))
        let loop = try scratch.loop(size: size * mebibyte)
        switch kind {
        case "ext4": try Shell.run("mkfs.ext4", "-q", "-L", "precious", loop.path)
        case "xfs": try Shell.run("mkfs.xfs", "-q", "-L", "precious", loop.path)
        case "swap": try Shell.run("mkswap", "-L", "precious", loop.path)
        default:
            try Shell.run("sh", "-c", "echo 'label: \(kind)' | sfdisk --no-reread -q \(loop.path)")
        }
        guard
            case .carriesSignature(_, _, let signatures)? = refusal({
                try openTarget(loop.path, for: source)
            })
        else {
            Issue.record("\(kind) was not recognised")
            return
        }
        let expected = ["gpt", "dos"].contains(kind) ? "\(kind) partition table" : kind
        let found = try #require(signatures.first { $0.type == expected })
        #expect(found.offset != nil && found.uuid != nil)
        if expected == kind { #expect(found.label == "precious") }
        _ = try openTarget(loop.path, for: source, TargetOptions(overwrite: true))
    }
}

/// Which filesystems take, refuse and fake direct I/O.
@Suite(.serialized, .enabled(if: Machine.canUseLoops, Machine.needsLoops))
struct DirectAccessTests {
    @Test(arguments: ["ext4", "xfs", "btrfs"])
    func `filesystems on disks take direct access`(kind: String) throws {
        guard Shell.has("mkfs.\(kind)") else { return }
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 320 * mebibyte)
        try Shell.run("mkfs.\(kind)", "-q", loop.path)
        let image = try scratch.mount(loop.path) + "/image"
        let descriptor = open(image, O_RDWR | O_CREAT, 0o600)
        ftruncate(descriptor, Int(mebibyte) + 1)
        close(descriptor)
        let device = try openSource(image)
        #expect(device.identity.filesystem == kind && device.zeroing.punchesHoles == true)
        #expect(device.caching == .direct && device.geometry.offsetAlignment >= 512)
        #expect(device.notes.isEmpty == (kind != "btrfs"))
        #expect(try device.extent(at: 0).content == .zero)
    }

    @Test func `tmpfs takes direct access or says so`() throws {
        let scratch = try Scratch()
        let image = try scratch.mount("none", type: "tmpfs") + "/image"
        let descriptor = open(image, O_RDWR | O_CREAT, 0o600)
        ftruncate(descriptor, Int(mebibyte))
        close(descriptor)
        let device = try openSource(image)
        #expect(device.caching == .direct || device.directDescriptor == nil)
        #expect(device.caching != .direct || !device.notes.isEmpty)
    }

    @Test func `what refuses direct access is read through the cache`() throws {
        // procfs has regular files and no direct I/O.
        let device = try openSource("/proc/version")
        guard case .buffered = device.caching else {
            Issue.record("\(device.caching)")
            return
        }
        let error = storageError {
            try openSource("/proc/version", SourceOptions(cache: .direct))
        }
        #expect(error?.category == .usage)
        #expect(error?.remedy.ways == [.buffer])
    }
}
