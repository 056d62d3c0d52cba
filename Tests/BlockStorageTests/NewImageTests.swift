import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// A file that is made has its name when it is whole, and not before.
struct NewImageTests {
    private static func open(
        _ path: String, fill: (any ImageFile) throws(StorageError) -> Void
    ) throws -> StorageDevice {
        try StorageDevice.openTarget(
            FilePath(path), apartFrom: [], size: 0, options: TargetOptions(create: true),
            content: .format, fill: fill)
    }

    @Test func `whoever is killed while it is made leaves nothing`() throws {
        let scratch = try Scratch()
        let path = scratch.path("new")
        var seen: [String] = ["not called"]
        let device = try Self.open(path) { (file) throws(StorageError) in
            try file.write([1, 2, 3], at: 4096)
            seen = (try? FileManager.default.contentsOfDirectory(atPath: scratch.path)) ?? ["?"]
        }
        #expect(seen.isEmpty)
        #expect(try device.currentSize() == 4099)
        #expect(
            device.resolvedPath
                == (try FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/self/fd/\(device.bufferedDescriptor)")))
        #expect(device.resolvedPath.hasSuffix("/new"))
    }

    @Test func `what fails while it is made leaves nothing`() throws {
        let scratch = try Scratch()
        let failure = StorageError.notFound(path: "inside")
        #expect(throws: failure) {
            _ = try Self.open(scratch.path("new")) { (_) throws(StorageError) in throw failure }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
    }

    @Test func `what appears meanwhile is not replaced`() throws {
        let scratch = try Scratch()
        let path = scratch.path("new")
        #expect(throws: StorageError.refused(.alreadyExistsForCreate(target: FilePath(path)))) {
            _ = try Self.open(path) { (_) throws(StorageError) in
                close(creat(path, 0o600))
            }
        }
        #expect(FileManager.default.fileExists(atPath: path))
    }
}
