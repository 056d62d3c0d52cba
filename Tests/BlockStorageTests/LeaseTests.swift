import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Writers whose descriptor is closed, and whose mapping is not.
@Suite(.serialized) struct LeaseTests {
    /// A process that maps a path for writing, closes it, and stays.
    private func mapper(
        of path: String, writable: Bool = true, in scratch: Scratch
    ) throws -> Child {
        let access = writable ? "mmap.PROT_READ | mmap.PROT_WRITE" : "mmap.PROT_READ"
        let program = """
            import mmap, os, sys, time
            f = open(sys.argv[1], "\(writable ? "r+b" : "rb")")
            m = mmap.mmap(f.fileno(), 4096, mmap.MAP_SHARED, \(access))
            # The module keeps a descriptor of its own.
            os.closerange(3, 64)
            print("mapped", flush=True)
            time.sleep(60)
            """
        let child = try Child(["python3", "-c", program, path], in: scratch)
        try #require(child.wait(until: { $0.output.contains("mapped") }), "\(child.errors)")
        return child
    }

    private func refusal(_ body: () throws -> Void) -> GuardRefusal? {
        do {
            try body()
        } catch StorageError.refused(let refusal) {
            return refusal
        } catch {
            Issue.record(error)
        }
        return nil
    }

    @Test func `a mapped source is in use`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 1 << 20)
        let mapper = try mapper(of: path, in: scratch)
        guard
            case .sourceInUse(_, let uses) = refusal({
                _ = try StorageDevice.openSource(FilePath(path))
            })
        else {
            Issue.record("a source that is mapped for writing was opened")
            return
        }
        #expect(
            uses.contains {
                if case .openForWriting(let process) = $0 { return process.pid == Int(mapper.pid) }
                return false
            }, "\(uses)")
        let opened = try StorageDevice.openSource(
            FilePath(path), options: SourceOptions(allowSourceInUse: true))
        #expect(opened.warnings.contains { $0.contains("process \(mapper.pid)") })
    }

    private func expectTargetRefused(
        _ path: String, for source: StorageDevice, becauseOf mapper: Child,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let found = refusal {
            _ = try StorageDevice.openTarget(
                FilePath(path), for: source, options: TargetOptions(overwrite: true))
        }
        guard case .openByProcess(_, let processes) = found else {
            Issue.record(
                "not refused as it should be: \(String(describing: found))",
                sourceLocation: sourceLocation)
            return
        }
        #expect(processes.map(\.pid) == [Int(mapper.pid)], sourceLocation: sourceLocation)
    }

    @Test func `a mapped target is refused`() throws {
        let scratch = try Scratch()
        let source = try StorageDevice.openSource(FilePath(scratch.file("s", size: 1 << 20)))
        let path = try scratch.file("t", size: 1 << 20)
        let mapper = try mapper(of: path, in: scratch)
        expectTargetRefused(path, for: source, becauseOf: mapper)
    }

    @Test(.enabled(if: LoopDevice.isAvailable))
    func `a mapped disk is in use`() throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 1 << 20)
        let mapper = try mapper(of: loop.path, in: scratch)
        guard
            case .sourceInUse(_, let uses) = refusal({
                _ = try StorageDevice.openSource(FilePath(loop.path))
            })
        else {
            Issue.record("a disk that is mapped for writing was opened")
            return
        }
        #expect("\(uses)".contains("\(mapper.pid)"))
    }

    /// A mapping that only reads keeps the file open for writing if its descriptor could write.
    @Test(arguments: ["mmap.MAP_SHARED", "mmap.MAP_PRIVATE"])
    func `a mapping of a writable descriptor names its process`(_ kind: String) throws {
        let scratch = try Scratch()
        let source = try StorageDevice.openSource(FilePath(scratch.file("s", size: 1 << 20)))
        let path = try scratch.file("t", size: 1 << 20)
        let program = """
            import mmap, os, sys, time
            f = open(sys.argv[1], "r+b")
            m = mmap.mmap(f.fileno(), 4096, \(kind), mmap.PROT_READ)
            os.closerange(3, 64)
            print("mapped", flush=True)
            time.sleep(60)
            """
        let mapper = try Child(["python3", "-c", program, path], in: scratch)
        try #require(mapper.wait(until: { $0.output.contains("mapped") }), "\(mapper.errors)")
        expectTargetRefused(path, for: source, becauseOf: mapper)
    }

    /// A file server gives up its lease when it is asked to.
    @Test func `a lease of another is waited for`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("t", size: 4096)
        let program = """
            import fcntl, os, signal, sys, time
            fd = os.open(sys.argv[1], os.O_RDONLY)
            def back(*_): fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, back)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            print("leased", flush=True)
            for _ in range(600): time.sleep(0.1)
            """
        let server = try Child(["python3", "-c", program, path], in: scratch)
        try #require(server.wait(until: { $0.output.contains("leased") }), "\(server.errors)")
        _ = try SystemCalls.open(FilePath(path), O_RDWR | O_NONBLOCK)
        let error = StorageError.opening("t", .readWrite, .resourceTemporarilyUnavailable)
        #expect(error.description.contains("lease"))
    }

    @Test func `a mapping to read is no use`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 1 << 20)
        let mapper = try mapper(of: path, writable: false, in: scratch)
        _ = try StorageDevice.openSource(FilePath(path))
        _ = mapper
    }

    @Test func `the kernel says whether a file has writers`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 4096)
        let reader = try SystemCalls.open(FilePath(path), O_RDONLY)
        #expect(SystemCalls.writers(of: reader) == .none)
        // The lease was given back, or this would wait for it and the signal come.
        let writer = try SystemCalls.open(FilePath(path), O_RDWR | O_NONBLOCK)
        #expect(SystemCalls.writers(of: reader) == .some)
        _ = writer
    }

    @Test func `where there are no leases, the scan is left`() throws {
        let reader = try SystemCalls.open("/dev/null", O_RDONLY)
        #expect(SystemCalls.writers(of: reader) == .unknown)
    }

    /// Leases are asked for while others open and write the file: each break of one sends a signal,
    /// whose usual action ends the process.
    @Test func `a broken lease does no harm`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 4096)
        let reader = try SystemCalls.open(FilePath(path), O_RDONLY)
        let program =
            "import os, sys\nfor i in range(20000): os.close(os.open(sys.argv[1], os.O_RDWR))"
        let opener = try Child(["python3", "-c", program, path], in: scratch)
        var answers: Set<SystemCalls.Writers> = []
        while opener.isRunning { answers.insert(SystemCalls.writers(of: reader)) }
        #expect(answers.isSubset(of: [.none, .some]))
        #expect(SystemCalls.writers(of: reader) == .none)
    }

    @Test func `mappings are read`() throws {
        let machine = try Fixture()
        let file = NodeIdentity.file(device: DeviceNumber(major: 0xfe, minor: 1), inode: 77)
        try machine.text(
            "/proc/70/maps",
            """
            55d0-55e0 r-xp 00000000 fe:01 77    /usr/bin/x
            7f01-7f02 rw-s 00000000 fe:01 78    /srv/other
            7f03-7f04 r--s 00000000 fe:01 77    /srv/vm.img
            7ffd-7ffe rw-p 00000000 00:00 0     [stack]
            """)
        try machine.text(
            "/proc/70/smaps",
            "7f03-7f04 r--s 00000000 fe:01 77    /srv/vm.img\nSize: 4 kB\nVmFlags: rd mr me ms")
        #expect(MappingGuard.access(of: 70, to: [file], machine.view) == false)
        try machine.text("/proc/71/maps", "7f03-7f04 rw-s 00000000 fe:01 77 /srv/a b (deleted)")
        #expect(MappingGuard.access(of: 71, to: [file], machine.view) == true)
        try machine.text("/proc/72/maps", "7f05-7f06 rw-s 00000000 00:2a 9 /dev/sdb")
        #expect(MappingGuard.access(of: 72, to: [file], machine.view) == nil)
        let disk = try machine.device("sdb", 8, 16)
        machine.node("/proc/72/map_files/7f05-7f06", disk)
        #expect(MappingGuard.access(of: 72, to: [disk], machine.view) == true)
        // Without a link the name tells, of the first thread that lives.
        machine.node("/dev/sdb", disk)
        try machine.text("/proc/76/task/76/comm", "a")
        try machine.text("/proc/76/task/77/maps", "7f05-7f06 rw-s 00000000 00:2a 9   /dev/sdb")
        #expect(MappingGuard.access(of: 76, to: [disk], machine.view) == true)
        // Only read now, and made by a descriptor that may write, or by nobody knows which.
        let head = "7f03-7f04 r--s 00000000 fe:01 77    /srv/vm.img"
        try machine.text("/proc/75/maps", head)
        for (flags, mayWrite) in [("rd mr me", false), ("rd mr mw me", true)] {
            try machine.text("/proc/75/smaps", "\(head)\nSize: 4 kB\nVmFlags: \(flags)")
            #expect(MappingGuard.access(of: 75, to: [file], machine.view) == mayWrite)
        }
        #expect(MappingGuard.access(of: 73, to: [disk], machine.view) == nil)
        // The first thread of 74 has ended.
        try machine.text("/proc/74/task/74/comm", "a")
        try machine.text("/proc/74/task/75/maps", "7f03-7f04 rw-s 00000000 fe:01 77 /srv/a")
        #expect(MappingGuard.access(of: 74, to: [file], machine.view) == true)
    }
}
