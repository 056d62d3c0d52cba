import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// The locks of an open file by itself, as a program of QEMU's has them.
private final class ForeignLocks {
    private let descriptor: CInt

    init(_ path: String, _ bytes: [Int], exclusive: Bool = false) throws {
        descriptor = open(path, O_RDWR | O_CLOEXEC)
        try #require(descriptor >= 0)
        for byte in bytes {
            var lock = flock()
            lock.l_type = Int16(exclusive ? F_WRLCK : F_RDLCK)
            lock.l_start = byte
            lock.l_len = 1
            let setOpenFileLock: CInt = 37  // F_OFD_SETLK, which is not imported
            try #require(fcntl(descriptor, setOpenFileLock, &lock) == 0)
        }
    }

    deinit { close(descriptor) }
}

/// Which locks we take, and which of others we respect. The bytes are those that strace shows for
/// QEMU's programs.
@Suite struct ImageLockTests {
    private let scratch: Scratch
    private let path: String
    private let own = ProcessName(pid: Int(getpid()), command: SystemView.live.ownName)

    init() throws {
        scratch = try Scratch()
        path = try scratch.file("image", size: mebibyte)
    }

    /// The bytes of QEMU's that are locked now.
    private func locked() throws -> [Int64] {
        let descriptor = try SystemCalls.open(FilePath(path), O_RDWR)
        return try (Int64(100)...203).filter {
            try SystemCalls.isRecordLocked(descriptor, at: $0)
        }
    }

    private func lock(_ permission: ImageLock.Permission, isInUse: Bool) -> Use {
        .imageLock(
            ImageLock(
                path: FilePath(path), permission: permission, isInUse: isInUse, holders: [own]))
    }

    @Test func `every role has its bytes`() throws {
        do {
            let device = try openSource(path)
            #expect(try locked() == [100, 201, 203])
            withExtendedLifetime(device) {}
        }
        #expect(try locked() == [])
        do {
            let device = try StorageDevice.openForChange(FilePath(path), apartFrom: [])
            #expect(try locked() == [100, 101, 103, 201, 203])
            withExtendedLifetime(device) {}
        }
        do {
            let device = try openFormat(path)
            #expect(try locked() == [100, 101, 103, 200, 201, 203])
            withExtendedLifetime(device) {}
        }
        do {
            let device = try openSource(path, SourceOptions(allowSourceInUse: true))
            #expect(try locked() == [])
            withExtendedLifetime(device) {}
        }
    }

    @Test func `readers of one file keep nobody out`() throws {
        let one = try openSource(path)
        let other = try openSource(path)
        #expect(one.node == other.node)
    }

    @Test(arguments: [
        (101, ImageLock.Permission.write, true), (103, .resize, true),
        (200, .consistentRead, false),
    ])
    func `a source is refused`(byte: Int, permission: ImageLock.Permission, isInUse: Bool) throws {
        let locks = try ForeignLocks(path, [byte])
        let use = lock(permission, isInUse: isInUse)
        let refused = refusal { try openSource(path) }
        #expect(refused == .sourceInUse(source: FilePath(path), uses: [use]))
        #expect(refused?.description.contains("then try again") == true)
        #expect(use.description.contains("QEMU's image lock"))
        let anyway = try openSource(path, SourceOptions(allowSourceInUse: true))
        #expect(anyway.warnings.filter { $0.contains("QEMU's image lock") }.count == 1)
        withExtendedLifetime(locks) {}
    }

    @Test(arguments: [100, 201, 203])
    func `a source is read beside readers`(byte: Int) throws {
        let locks = try ForeignLocks(path, [byte])
        let device = try openSource(path)
        #expect(device.warnings.isEmpty)
        withExtendedLifetime(locks) {}
    }

    @Test(arguments: [
        ([100], ImageLock.Permission.consistentRead, true), ([101], .write, true),
        ([103], .resize, true), ([200], .consistentRead, false), ([201], .write, false),
        ([203], .resize, false), ([100, 101, 103, 201, 203], .write, true),
    ])
    func `a target is refused`(
        bytes: [Int], permission: ImageLock.Permission, isInUse: Bool
    ) throws {
        let locks = try ForeignLocks(path, bytes)
        let source = try openSource(scratch.file("source", size: mebibyte))
        #expect(
            refusal { try openTarget(path, for: source) }
                == .targetInUse(
                    target: FilePath(path), uses: [lock(permission, isInUse: isInUse)]))
        withExtendedLifetime(locks) {}
    }

    /// A reader that lets others write: QEMU would go ahead, but nobody knows what it relies on.
    @Test func `nothing is changed below a reader`() throws {
        let reader = try ForeignLocks(path, [100])
        guard
            case .lockedByOther? = refusal({
                try StorageDevice.openForChange(FilePath(path), apartFrom: [])
            })
        else {
            Issue.record("the reader was not seen")
            return
        }
        withExtendedLifetime(reader) {}
    }

    /// libvirt's lock daemon locks byte 0.
    @Test func `locks of other kinds are respected`() throws {
        let source = try openSource(scratch.file("source", size: mebibyte))
        do {
            let locks = try ForeignLocks(path, [0], exclusive: true)
            #expect(
                refusal { try openTarget(path, for: source) }
                    == .lockedByOther(path: FilePath(path), holder: nil))
            _ = try openSource(path)
            withExtendedLifetime(locks) {}
        }
        let locks = try ForeignLocks(path, [100], exclusive: true)
        for refused in [
            refusal { try openTarget(path, for: source) }, refusal { try openSource(path) },
        ] {
            #expect(refused == .lockedByOther(path: FilePath(path), holder: nil))
        }
        withExtendedLifetime(locks) {}
    }

    @Test func `without a holder the message still says what to do`() {
        let use = Use.imageLock(
            ImageLock(path: "/images/vm.qcow2", permission: .write, isInUse: true, holders: []))
        #expect(
            use.description == "a virtual machine or another program has /images/vm.qcow2 open "
                + "for writing (QEMU's image lock)")
        #expect(use.remedy == "shut that virtual machine or program down")
    }
}

extension SystemView {
    fileprivate var ownName: String { processName(Int(getpid())).command }
}

/// The same against QEMU's own programs.
@Suite(
    .serialized,
    .enabled(
        if: Shell.has("qemu-img", "qemu-io", "qemu-storage-daemon"),
        "needs qemu-img, qemu-io and qemu-storage-daemon"))
struct QEMULockTests {
    private let scratch: Scratch
    private let source: StorageDevice

    init() throws {
        scratch = try Scratch()
        source = try openSource(scratch.file("source", size: mebibyte))
    }

    /// An image of a format, large enough for `source`.
    private func image(_ format: String) throws -> String {
        let path = scratch.path("image.\(format)")
        try Shell.run("qemu-img", "create", "-q", "-f", format, path, "1M")
        return path
    }

    /// A daemon that has an image open and offers it, as a virtual machine would use it.
    private func daemon(
        _ path: String, _ format: String, readOnly: Bool, driver: String = "file"
    ) throws -> Child {
        let mode = "read-only=\(readOnly ? "on" : "off")"
        let ready = scratch.path("ready-\(UInt32.random(in: 0 ... .max))")
        let child = try Child(
            [
                "qemu-storage-daemon", "--pidfile", ready,
                "--nbd-server", "addr.type=unix,addr.path=\(ready).socket",
                "--blockdev", "driver=\(driver),filename=\(path),node-name=file,\(mode)",
                "--blockdev", "driver=\(format),file=file,node-name=disk,\(mode)",
                "--export", "type=nbd,id=export,node-name=disk,writable=\(readOnly ? "off" : "on")",
            ], in: scratch)
        try #require(
            child.wait(until: { _ in access(ready, F_OK) == 0 }), "\(child.errors)")
        return child
    }

    /// Whether one of QEMU's programs failed, and for the lock.
    private func isLockedOut(_ command: String...) throws -> Bool {
        do {
            try Shell.run(command[0], Array(command.dropFirst()))
            return false
        } catch let failure as Shell.Failure {
            #expect(failure.output.contains("lock"), "\(failure)")
            return true
        }
    }

    @Test(arguments: ["raw", "qcow2"])
    func `a machine that writes keeps us out`(format: String) throws {
        let path = try image(format)
        let machine = try daemon(path, format, readOnly: false)
        let process = ProcessName(pid: Int(machine.pid), command: "qemu-storage-da")
        #expect(
            refusal { try openSource(path) }
                == .sourceInUse(source: FilePath(path), uses: [.openForWriting(process)]))
        #expect(
            refusal { try openFormat(path) }
                == .openByProcess(target: FilePath(path), processes: [process]))
        // The locks say the same where no process can be seen.
        #expect(
            ImageLocking.use(of: try .open(FilePath(path), access: .readOnly, .live), .live)
                == .imageLock(
                    ImageLock(
                        path: FilePath(path), permission: .write, isInUse: true,
                        holders: [process])))
        do {
            let anyway = try openSource(path, SourceOptions(allowSourceInUse: true))
            #expect(anyway.warnings.contains { $0.contains("\(machine.pid)") })
        }
        machine.kill(group: SIGKILL)
        _ = try openSource(path)
        _ = try openFormat(path)
    }

    @Test(arguments: ["raw", "qcow2"])
    func `a machine that reads lets us read`(format: String) throws {
        let path = try image(format)
        let machine = try daemon(path, format, readOnly: true)
        let process = ProcessName(pid: Int(machine.pid), command: "qemu-storage-da")
        _ = try openSource(path)
        for open in [
            { try openFormat(path) },
            { try StorageDevice.openForChange(FilePath(path), apartFrom: []) },
        ] {
            guard case .targetInUse(_, let uses)? = refusal(open),
                case .imageLock(let lock)? = uses.first
            else {
                Issue.record("the image was taken away from its reader")
                return
            }
            #expect(lock.holders == [process])
        }
        #expect(machine.isRunning)
    }

    @Test(arguments: ["raw", "qcow2"])
    func `our target is left alone`(format: String) throws {
        let path = try image(format)
        for open in [
            { try openFormat(path) },
            { try StorageDevice.openForChange(FilePath(path), apartFrom: []) },
        ] {
            let device = try open()
            #expect(try isLockedOut("qemu-io", "-f", format, "-c", "write 0 4k", path))
            #expect(
                try isLockedOut(
                    "qemu-img", "convert", "-f", format, "-O", "raw", path, scratch.path("copy")))
            // Of a raw image it asks nothing that could change.
            #expect(try isLockedOut("qemu-img", "info", "-f", format, path) == (format == "qcow2"))
            try Shell.run("qemu-img", "info", "-U", "-f", format, path)
            withExtendedLifetime(device) {}
        }
        try Shell.run("qemu-io", "-f", format, "-c", "write 0 4k", path)
    }

    @Test(arguments: ["raw", "qcow2"])
    func `a target is not read half-written`(format: String) throws {
        let path = try image(format)
        let target = try openFormat(path)
        #expect(try isLockedOut("qemu-io", "-r", "-f", format, "-c", "read 0 4k", path))
        withExtendedLifetime(target) {}
    }

    @Test(arguments: ["raw", "qcow2"])
    func `our source is read and not written`(format: String) throws {
        let path = try image(format)
        let device = try openSource(path)
        #expect(try isLockedOut("qemu-io", "-f", format, "-c", "write 0 4k", path))
        #expect(try isLockedOut("qemu-img", "resize", "-f", format, path, "2M"))
        try Shell.run("qemu-io", "-r", "-f", format, "-c", "read 0 4k", path)
        try Shell.run("qemu-img", "info", "-f", format, path)
        try Shell.run("qemu-img", "convert", "-f", format, "-O", "raw", path, scratch.path("copy"))
        withExtendedLifetime(device) {}
    }

    /// The exclusive claim does not stop QEMU, and its locks are on disks too.
    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops))
    func `disks are locked as well`() throws {
        let loop = try scratch.loop(size: mebibyte)
        do {
            let target = try openTarget(loop.path, for: source)
            #expect(
                try isLockedOut("qemu-io", "-f", "host_device", "-c", "write 0 4k", loop.path))
            withExtendedLifetime(target) {}
        }
        let machine = try daemon(loop.path, "raw", readOnly: true, driver: "host_device")
        guard case .targetInUse(_, let uses)? = refusal({ try openTarget(loop.path, for: source) }),
            case .imageLock(let lock)? = uses.first
        else {
            Issue.record("the disk was taken away from its reader")
            return
        }
        #expect(lock.holders.map(\.pid) == [Int(machine.pid)])
        machine.kill(group: SIGKILL)
        _ = try openTarget(loop.path, for: source)
    }
}
