import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

@_silgen_name("setfsuid") private func setfsuid(_ user: UInt32) -> CInt

@Suite struct OpeningTests {
    @Test func `a missing path is an error of usage`() throws {
        let error = storageError { try openSource("/nonexistent/disk") }
        #expect(error == .notFound(path: "/nonexistent/disk"))
        #expect(error?.category == .usage)
    }

    @Test func `what is neither disk nor file is named`() throws {
        let scratch = try Scratch()
        #expect(
            storageError { try openSource(scratch.path) }
                == .isDirectory(path: FilePath(scratch.path)))
        let pipe = scratch.path("pipe")
        try #require(mkfifo(pipe, 0o600) == 0)
        // An open that waited for a writer would hang the test here.
        #expect(
            storageError { try openSource(pipe) }
                == .notADiskOrFile(path: FilePath(pipe), kind: "pipe"))
        #expect(
            storageError { try openSource("/dev/zero") }
                == .notADiskOrFile(path: "/dev/zero", kind: "character device"))
        let source = try openSource(scratch.file("source", size: 4096))
        for path in [scratch.path, pipe, "/dev/zero"] {
            #expect(storageError { try openTarget(path, for: source) }?.category == .usage)
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root, to give up its rights"))
    func `a lack of permission is an error of usage`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("source", size: 4096)
        _ = setfsuid(65534)
        defer { _ = setfsuid(0) }
        let error = storageError { try openSource(path) }
        #expect(error == .permissionDenied(path: FilePath(path), access: .readOnly))
        #expect(error?.category == .usage)
    }

    @Test func `an image is described`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("source", size: mebibyte + 1)
        let device = try openSource(path)
        #expect(device.kind == .image && device.access == .readOnly && !device.startsZero)
        #expect(device.geometry.size == mebibyte + 1)
        #expect(device.identity.inode != nil && device.identity.deviceNumber == nil)
        #expect(device.identity.filesystem != nil)
        #expect(try device.currentSize() == mebibyte + 1)
    }

    @Test func `descriptors have the right flags`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: mebibyte))
        let target = try openTarget(
            scratch.path("target"), for: source, TargetOptions(create: true))
        for device in [source, target] {
            let mode = device.access == .readOnly ? O_RDONLY : O_RDWR
            let buffered = SystemCalls.flags(of: device.bufferedDescriptor)
            #expect(buffered & O_ACCMODE == mode)
            #expect(buffered & (O_NONBLOCK | O_DIRECT) == 0)
            if let direct = device.directDescriptor {
                #expect(device.caching == .direct)
                let flags = SystemCalls.flags(of: direct)
                #expect(flags & O_ACCMODE == mode)
                #expect(flags & O_DIRECT != 0 && flags & O_NONBLOCK == 0)
            }
        }
    }

    @Test func `buffered access can be chosen`() throws {
        let scratch = try Scratch()
        let device = try openSource(
            scratch.file("source", size: 4096), SourceOptions(cache: .buffered))
        #expect(device.directDescriptor == nil && device.geometry.offsetAlignment == 1)
        guard case .buffered = device.caching else {
            Issue.record("\(device.caching)")
            return
        }
    }

    @Test func `links are followed once`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("source", size: 4096)
        let link = scratch.path("link")
        try #require(symlink(path, link) == 0)
        let device = try openSource(link)
        #expect(device.path == FilePath(link))
        #expect(device.resolvedPath.hasSuffix("/source"))
    }

    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops), arguments: [512, 4096])
    func `a disk is described`(sectorSize: Int) throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 16 * mebibyte, sectorSize: sectorSize, directIO: true)
        let device = try openSource(loop.path)
        #expect(device.kind == .disk && device.caching == .direct)
        #expect(device.geometry.size == 16 * mebibyte)
        #expect(device.geometry.logicalBlockSize == sectorSize)
        #expect(device.geometry.physicalBlockSize >= sectorSize)
        #expect(device.geometry.offsetAlignment == sectorSize)
        #expect(device.geometry.memoryAlignment >= 1)
        #expect(device.geometry.maxTransfer != nil && device.geometry.queueDepth != nil)
        #expect(device.identity.deviceNumber?.major == 7)
        #expect(device.identity.size == 16 * mebibyte)
        #expect(device.zeroing.writeZeroesMaxBytes > 0)
    }

    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops))
    func `a partition has the queue of its disk`() throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 16 * mebibyte)
        let partition = try loop.addPartition(1, start: 2048, sectors: 8192)
        let device = try openSource(partition)
        #expect(device.geometry.size == 8192 * 512)
        #expect(device.geometry.queueDepth != nil)
        #expect(device.identity.partition == 1 && device.identity.partitionStart == 2048)
    }

    @Test func `an identity can be given the size of its disk`() throws {
        let scratch = try Scratch()
        let known = try openSource(scratch.file("source", size: 4096)).identity
        let disk = known.withSize(mebibyte)
        #expect(disk.size == mebibyte && disk.difference(from: known) != nil)
        #expect(disk.withSize(4096) == known)
    }

    @Test func `identity survives coding`() throws {
        var identity = DeviceIdentity(size: 4096)
        identity.serial = "S1"
        identity.deviceNumber = DeviceNumber(major: 259, minor: 1)
        let copy = try JSONCoding.roundTrip(identity)
        #expect(copy == identity)
    }
}

@Suite struct TargetImageTests {
    @Test func `a new image is made on request`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: mebibyte + 511))
        let path = scratch.path("target")
        #expect(
            refusal { try openTarget(path, for: source) }
                == .missingWithoutCreate(target: FilePath(path)))
        #expect(access(path, F_OK) != 0)
        let target = try openTarget(path, for: source, TargetOptions(create: true))
        #expect(target.startsZero && target.geometry.size == mebibyte + 511)
        #expect(target.readsAsZero(0..<mebibyte + 511))
        var status = stat()
        try #require(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test func `create never takes what is there`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 4096))
        let path = try scratch.file("target", size: 4096)
        #expect(
            refusal { try openTarget(path, for: source, TargetOptions(create: true)) }
                == .alreadyExistsForCreate(target: FilePath(path)))
        let dangling = scratch.path("dangling")
        try #require(symlink(scratch.path("nowhere"), dangling) == 0)
        for create in [true, false] {
            let error = #expect(throws: StorageError.self) {
                _ = try openTarget(dangling, for: source, TargetOptions(create: create))
            }
            #expect(error?.code == .notADiskOrFile)
        }
        let directory = #expect(throws: StorageError.self) {
            _ = try openTarget(scratch.path("."), for: source, TargetOptions(create: true))
        }
        #expect(directory?.code == .isDirectory)
        #expect(access(scratch.path("nowhere"), F_OK) != 0)
    }

    @Test func `nothing is ever made under /dev`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 4096))
        let link = scratch.path("dev")
        try #require(symlink("/dev", link) == 0)
        for path in [
            "/dev/ringmirror-nothing", "/dev/../dev/ringmirror-nothing",
            link + "/ringmirror-nothing",
        ] {
            for create in [false, true] {
                let refused = refusal {
                    try openTarget(path, for: source, TargetOptions(create: create))
                }
                #expect(refused == .underDev(target: FilePath(path)))
                #expect(access(path, F_OK) != 0)
            }
        }
    }

    private static func isMountPoint(_ path: String) -> Bool {
        var (own, above) = (stat(), stat())
        let isFound = unsafe (stat(path, &own), stat(path + "/..", &above)) == (0, 0)
        return isFound && own.st_dev != above.st_dev
    }

    /// It is a filesystem of its own, and for files.
    @Test(.enabled(if: isMountPoint("/dev/shm")))
    func `shared memory under /dev takes files`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 4096))
        let path = "/dev/shm/ringmirror-test-\(getpid())-made"
        defer { unlink(path) }
        let made = try openTarget(path, for: source, TargetOptions(create: true))
        #expect(made.geometry.size == 4096)
    }

    @Test func `a missing directory is not found`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 4096))
        let error = storageError {
            try openTarget(scratch.path("no/target"), for: source, TargetOptions(create: true))
        }
        #expect(error == .notFound(path: FilePath(scratch.path("no"))))
    }

    @Test func `sizes must match`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 8192))
        let small = try scratch.file("small", size: 8191)
        #expect(
            refusal { try openTarget(small, for: source, TargetOptions(allowLarger: true)) }
                == .targetTooSmall(target: FilePath(small), targetSize: 8191, sourceSize: 8192))
        let large = try scratch.file("large", size: 8193)
        #expect(
            refusal { try openTarget(large, for: source) }
                == .targetLarger(target: FilePath(large), targetSize: 8193, sourceSize: 8192))
        let target = try openTarget(large, for: source, TargetOptions(allowLarger: true))
        #expect(target.geometry.size == 8193 && !target.startsZero)
    }

    @Test func `the same file under any name is refused`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("source", size: 8192)
        let hard = scratch.path("hard")
        let soft = scratch.path("soft")
        try #require(link(path, hard) == 0 && symlink(path, soft) == 0)
        let source = try openSource(path)
        for name in [path, hard, soft] {
            #expect(
                refusal { try openTarget(name, for: source) }
                    == .sourceIsTarget(source: FilePath(path), target: FilePath(name)))
        }
    }

    @Test func `two mirrors onto one image are kept apart`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 8192))
        let path = try scratch.file("target", size: 8192)
        let target = try openTarget(path, for: source)
        guard case .lockedByOther? = refusal({ try openTarget(path, for: source) }) else {
            Issue.record("the second was not told of the first")
            return
        }
        guard case .lockedByOther? = refusal({ try openSource(path) }) else {
            Issue.record("a target was taken for a source")
            return
        }
        #expect(target.access == .readWrite)
    }

    @Test func `a process that writes the target is named`() throws {
        let scratch = try Scratch()
        let source = try openSource(scratch.file("source", size: 8192))
        let path = try scratch.file("target", size: 8192)
        let holder = try Holder(writing: path)
        let refused = refusal { try openTarget(path, for: source) }
        #expect(
            refused
                == .openByProcess(
                    target: FilePath(path),
                    processes: [ProcessName(pid: holder.pid, command: "sleep")]))
        #expect(
            refusal { try openSource(path) }
                == .sourceInUse(
                    source: FilePath(path),
                    uses: [.openForWriting(ProcessName(pid: holder.pid, command: "sleep"))]))
        let anyway = try openSource(path, SourceOptions(allowSourceInUse: true))
        #expect(anyway.warnings.count == 1)
    }
}
