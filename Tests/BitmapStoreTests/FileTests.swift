import BlockStorage
import DirtyBitmap
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// Stores in real filesystems.
@Suite struct FileTests {
    private let device = disk("source", size: 1 << 20)
    private static let isRoot = geteuid() == 0

    private func request(_ target: String = "target") -> JobRequest {
        JobRequest(
            mode: .incremental, bitmap: .stored("b"), source: device, sourcePath: "/dev/source",
            target: disk(target, size: 1 << 20), targetPath: "/dev/target")
    }

    private func refusal(_ body: () throws -> Void) -> String? {
        do { try body() } catch { return (error as? BitmapStoreError)?.caseName ?? "\(error)" }
        return nil
    }

    @Test func `a new store is whole, private, and never made over something`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("x.bitmaps"))
        let store = try BitmapStore.openOrCreate(path, for: device)
        try store.add("b")
        try store.mark("b", [0..<1])
        var status = stat()
        #expect(stat(path.string, &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(refusal { _ = try BitmapStore.create(path, for: device) } == "alreadyExists")
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["x.bitmaps"])
        let again = try BitmapStore.openOrCreate(path, for: device)
        #expect(try again.bitmaps().map(\.dirtyBytes) == [65536])
        #expect(try again.generation == store.generation)
        #expect(
            refusal { _ = try BitmapStore.create(FilePath(scratch.path("no/x")), for: device) }
                == "systemCall")
    }

    @Test func `what is no store is refused and left alone`() throws {
        let scratch = try Scratch()
        let real = FilePath(scratch.path("real"))
        _ = try BitmapStore.create(real, for: device)
        symlink(real.string, scratch.path("link"))
        symlink(scratch.path("nowhere"), scratch.path("dangling"))
        mkfifo(scratch.path("pipe"), 0o600)
        mkdir(scratch.path("directory"), 0o700)
        try scratch.file("empty", size: 0)
        try scratch.file("zeros", size: 1 << 20)
        for name in ["link", "dangling", "pipe", "directory", "empty", "zeros"] {
            let path = FilePath(scratch.path(name))
            for access in [Access.readOnly, .readWrite] {
                let found = refusal { _ = try BitmapStore.open(path, for: nil, access: access) }
                #expect(found == "notAStore", "\(name)")
            }
            #expect(refusal { _ = try BitmapStore.openOrCreate(path, for: device) } == "notAStore")
            #expect(refusal { _ = try BitmapStore.create(path, for: device) } == "alreadyExists")
        }
        #expect(access(scratch.path("nowhere"), F_OK) != 0)
        let missing = FilePath(scratch.path("missing"))
        #expect(
            refusal { _ = try BitmapStore.open(missing, for: nil, access: .readWrite) }
                == "notFound")
    }

    /// A process that is killed meanwhile leaves what there is while the store is filled.
    @Test func `a store that is being made has no name until it is whole`() throws {
        let scratch = try Scratch()
        func names() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: scratch.path("."))
        }
        let path = FilePath(scratch.path("store"))
        var seen: [String]?
        let file = try DiskFile.create(path) { (file) throws(BitmapStoreError) in
            try BitmapStore.format(file, for: device)
            seen = try? names()
        }
        #expect(seen == [])
        #expect(try names() == ["store"])
        // Its lock is gone, and jobs can be claimed in it as in one that was opened.
        try file.lock(.exclusive)
        #expect(try file.claim(job: 1) != nil)
        #expect(refusal { _ = try BitmapStore.create(path, for: device) } == "alreadyExists")
        #expect(try names() == ["store"])
        let other = FilePath(scratch.path("other"))
        #expect(
            refusal {
                _ = try DiskFile.create(other) { (_) throws(BitmapStoreError) in
                    throw .notFound(path: other)
                }
            } == "notFound")
        #expect(try names() == ["store"])
    }

    @Test func `a store of another disk, or of this one at another size, is refused`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        _ = try BitmapStore.create(path, for: device)
        func open(_ device: DeviceIdentity?) -> String? {
            refusal { _ = try BitmapStore.open(path, for: device, access: .readWrite) }
        }
        #expect(open(nil) == nil)
        #expect(open(device) == nil)
        #expect(open(disk("other", size: 1 << 20)) == "wrongDevice")
        #expect(open(disk("source", size: 1 << 21)) == "wrongSize")
        #expect(truncate(path.string, 9000) == 0)
        #expect(open(device) == "truncated")
        #expect(truncate(path.string, 5000) == 0)
        #expect(open(device) == "truncated")
    }

    @Test
    func `a store opened for reading changes nothing, also on a read-only filesystem`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let store = try BitmapStore.create(path, for: device)
        try store.add("b")
        let reader = try BitmapStore.open(path, for: device, access: .readOnly)
        #expect(refusal { try reader.add("c") } == "readOnly")
        try store.mark("b", [0..<1])
        #expect(try reader.bitmaps().map(\.dirtyBytes) == [65536])
        #expect(try reader.load("b").dirtyBytes == 65536)
    }

    @Test(.enabled(if: isRoot))
    func `a read-only filesystem can be listed and says why it can't be changed`() throws {
        let scratch = try Scratch()
        let point = try scratch.mount("none", type: "tmpfs", options: "size=1m")
        let path = FilePath(point + "/store")
        try BitmapStore.create(path, for: device).add("b")
        try Shell.run("mount", "-o", "remount,ro", point)
        let reader = try BitmapStore.open(path, for: device, access: .readOnly)
        #expect(try reader.bitmaps().map(\.name) == ["b"])
        do throws(BitmapStoreError) {
            _ = try BitmapStore.open(path, for: device, access: .readWrite)
            Issue.record("it was opened for writing")
        } catch {
            #expect(error == .systemCall(call: "open", path: path, code: .readOnlyFileSystem))
            #expect(error.remedy.ways == [.moveStore])
        }
    }

    @Test(.enabled(if: isRoot))
    func `a full filesystem costs nothing but the transaction`() throws {
        let scratch = try Scratch()
        let point = try scratch.mount("none", type: "tmpfs", options: "size=64k")
        let path = FilePath(point + "/store")
        let store = try BitmapStore.create(path, for: device)
        try store.add("b", granularity: .min)
        try store.mark("b", [0..<1])
        let filler = point + "/filler"
        let descriptor = Glibc.open(filler, O_WRONLY | O_CREAT, 0o600)
        let page = [UInt8](repeating: 1, count: 4096)
        while write(descriptor, page, page.count) > 0 {}
        close(descriptor)
        var failure: BitmapStoreError?
        for name in 0..<200 where failure == nil {
            let before = try store.bitmaps()
            do throws(BitmapStoreError) {
                try store.add("bitmap \(name)")
            } catch {
                failure = error
                #expect(try store.bitmaps() == before)
                let other = try BitmapStore.open(path, for: device, access: .readOnly)
                #expect(try other.bitmaps() == before)
            }
        }
        guard case .systemCall(_, path, .noSpace, _) = failure else {
            Issue.record("no ENOSPC but \(String(describing: failure))")
            return
        }
        #expect(unlink(filler) == 0)
        try store.add("at last")
        #expect(try store.load("b").dirtyBytes == 512)
    }

    @Test func `a store whose file was removed or replaced is not written to`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let store = try BitmapStore.create(path, for: device)
        try store.add("b")
        #expect(unlink(path.string) == 0)
        #expect(refusal { try store.mark("b", [0..<1]) } == "vanished")
        #expect(refusal { _ = try store.bitmaps() } == "vanished")
    }

    @Test func `only a store with nothing in it is removed`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let store = try BitmapStore.create(path, for: device)
        try store.add("b")
        var plain = request()
        plain.bitmap = nil
        let job = try store.beginJob(plain)
        #expect(try !store.removeFileIfEmpty())
        try store.remove("b")
        #expect(try !store.removeFileIfEmpty())
        try job.finish(.success)
        #expect(try store.removeFileIfEmpty())
        #expect(access(path.string, F_OK) != 0)
    }
}
