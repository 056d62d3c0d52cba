import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Targets that hold an image format, and what is changed in place.
@Suite struct FormatTargetTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test func `a new file is empty and takes direct access`() throws {
        let path = scratch.path("target")
        let device = try openFormat(path, create: true)
        #expect(device.geometry.size == 0 && device.startsZero)
        #expect(device.geometry.logicalBlockSize >= 512)
        if device.directDescriptor != nil { #expect(device.geometry.offsetAlignment >= 512) }
        #expect(
            refusal { try openFormat(path, create: true) }
                == .alreadyExistsForCreate(target: FilePath(path)))
        #expect(
            refusal { try openFormat(scratch.path("missing")) }
                == .missingWithoutCreate(target: FilePath(scratch.path("missing"))))
    }

    @Test func `what is there is opened as it is`() throws {
        let path = try scratch.file("target", size: 4096)
        // As a partition table would have it.
        write(1, at: 510, to: path, byte: 0x55)
        write(1, at: 511, to: path, byte: 0xAA)
        let device = try openFormat(path)
        #expect(device.geometry.size == 4096 && !device.startsZero)
        device.removeIfCreated()
        #expect(access(path, F_OK) == 0)
    }

    @Test func `only what this opening made is removed`() throws {
        let path = scratch.path("target")
        do {
            let device = try openFormat(path, create: true)
            device.removeIfCreated()
            #expect(access(path, F_OK) != 0)
        }
        // Somebody has put another file in its place.
        let device = try openFormat(path, create: true)
        try #require(unlink(path) == 0)
        try scratch.file("target", size: 4096)
        device.removeIfCreated()
        #expect(access(path, F_OK) == 0)
    }

    @Test func `a file that grows is no trouble`() throws {
        let device = try openFormat(scratch.path("target"), create: true)
        let file = DeviceFile(device)
        try file.resize(to: mebibyte)
        try file.write([1], at: mebibyte - 1)
        #expect(try device.currentSize() == mebibyte && file.length() == mebibyte)
        #expect(try RawMap(device).sizeChange() == nil)
        #expect(device.readsAsZero(0..<4096))
        #expect(!device.readsAsZero(0..<mebibyte) && !device.readsAsZero(0..<2 * mebibyte))
    }

    @Test func `the size counts for a disk alone`() throws {
        let path = try scratch.file("target", size: 4096)
        _ = try openFormat(path)
        #expect(
            refusal {
                try StorageDevice.openTarget(
                    FilePath(path), apartFrom: [], size: mebibyte, options: TargetOptions(),
                    content: .disk)
            }
                == .targetTooSmall(
                    target: FilePath(path), targetSize: 4096, sourceSize: mebibyte))
        let new = try StorageDevice.openTarget(
            FilePath(scratch.path("new")), apartFrom: [], size: 12345,
            options: TargetOptions(create: true), content: .disk)
        #expect(new.geometry.size == 12345)
    }

    @Test func `every file of the source counts`() throws {
        let paths = try ["top", "middle", "base"].map { try scratch.file($0, size: 8192) }
        let sources = try paths.map { try openSource($0) }
        for path in paths {
            for content in [TargetContent.disk, .format] {
                #expect(
                    refusal {
                        try StorageDevice.openTarget(
                            FilePath(path), apartFrom: sources, size: 8192,
                            options: TargetOptions(overwrite: true), content: content)
                    } == .sourceIsTarget(source: FilePath(path), target: FilePath(path)))
            }
            #expect(
                refusal {
                    try StorageDevice.openForChange(FilePath(path), apartFrom: sources)
                } == .sourceIsTarget(source: FilePath(path), target: FilePath(path)))
        }
    }

    /// The base of a chain is written while what stands on it is read.
    @Test func `what is changed must exist`() throws {
        let overlay = try openSource(scratch.file("overlay", size: 8192))
        let path = scratch.path("base")
        let error = storageError {
            try StorageDevice.openForChange(FilePath(path), apartFrom: [overlay])
        }
        #expect(error == .notFound(path: FilePath(path)))
        try scratch.file("base", size: 4096)
        let base = try StorageDevice.openForChange(FilePath(path), apartFrom: [overlay])
        #expect(base.access == .readWrite && base.geometry.size == 4096 && !base.startsZero)
        guard case .lockedByOther? = refusal({ try openSource(path) }) else {
            Issue.record("what is being changed was taken for a source")
            return
        }
    }

    @Test(
        .enabled(if: Machine.has("mkfs.ext4"), "needs root, loop devices and mkfs.ext4"))
    func `signatures are the first source's if it is a disk`() throws {
        let disk = try scratch.file("disk", size: 16 * mebibyte)
        try Shell.run("mkfs.ext4", "-q", "-F", disk)
        let mirror = scratch.path("mirror")
        try Shell.run("cp", disk, mirror)
        let source = try openSource(disk)
        let options = TargetOptions(holdsMirror: true)
        _ = try StorageDevice.openTarget(
            FilePath(mirror), apartFrom: [source], size: 16 * mebibyte, options: options,
            content: .disk, signatureSource: source)
        guard
            case .carriesSignature? = refusal({
                try StorageDevice.openTarget(
                    FilePath(mirror), apartFrom: [source], size: 16 * mebibyte, options: options,
                    content: .disk)
            })
        else {
            Issue.record("a filesystem was taken for the mirror of an image's file")
            return
        }
    }

    /// Where the kernel states no alignment, a trial at the end of the file proves nothing.
    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops))
    func `an empty file of unknown alignment is taken for a large one`() throws {
        let path = try scratch.mount("none", type: "tmpfs") + "/target"
        let device = try openFormat(path, create: true)
        guard let direct = device.directDescriptor else { return }
        let isStated = try SystemCalls.status(at: FilePath("/proc/self/fd/\(direct)")).direct != nil
        #expect(isStated || device.geometry.offsetAlignment == 4096)
    }
}
