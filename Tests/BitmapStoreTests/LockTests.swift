import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// Several that use one file.
@Suite struct LockTests {
    private let device = disk("source", size: 1 << 30)
    private let request: JobRequest

    init() {
        request = JobRequest(
            mode: .incremental, bitmap: .stored("b"), source: device, sourcePath: "/dev/source",
            target: disk("target", size: 1 << 30), targetPath: "/dev/target")
    }

    @Test func `threads with stores of their own, and with a common one, lose nothing`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let common = try BitmapStore.create(path, for: device)
        try common.add("b")
        DispatchQueue.concurrentPerform(iterations: 4) { thread in
            let store =
                thread < 2 ? common : try! BitmapStore.open(path, for: device, access: .readWrite)
            for step in 0..<25 {
                let start = Int64(thread * 25 + step) * 65536
                try! store.mark("b", [start..<start + 1])
            }
        }
        #expect(try common.load("b").dirtyBytes == 100 * 65536)
        #expect(try common.generation == 102)
    }

    @Test
    func `a job is seen by others while it lives, and as interrupted when it is gone`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let store = try BitmapStore.create(path, for: device)
        let other = try BitmapStore.open(path, for: device, access: .readWrite)
        try store.add("b")
        var job: StoreJob? = try store.beginJob(request)
        let id = try #require(job?.record.id)
        #expect(try other.bitmaps().map(\.isBusy) == [true])
        #expect(try store.bitmaps().map(\.isBusy) == [true])
        #expect(try other.jobs().map(\.isRunning) == [true])
        #expect(throws: BitmapStoreError.self) { try other.clear("b") }
        #expect(throws: BitmapStoreError.self) { try other.resumeJob(id) }
        #expect(throws: BitmapStoreError.self) { try other.beginJob(request) }
        try other.mark("b", [0..<1])
        job = nil
        // A child that another test starts has our descriptors until its program begins.
        for _ in 0..<500 {
            guard try other.bitmaps().contains(where: \.isBusy) else { break }
            usleep(10_000)
        }
        #expect(try other.bitmaps().map(\.isBusy) == [false])
        #expect(try other.bitmaps().map(\.isInterrupted) == [true])
        let resumed = try other.resumeJob(id)
        #expect(try resumed.loadRemaining().dirtyBytes == 65536)
        #expect(throws: BitmapStoreError.self) { try store.resumeJob(id) }
        try resumed.finish(.success)
        #expect(throws: BitmapStoreError.self) { try resumed.checkpoint(store.load("b")) }
        #expect(try store.jobs().isEmpty)
        #expect(try store.load("b").isClean)
    }

    /// Takes the lock of job 2 as a process of its own would, and says so.
    private static let claimer = """
        import fcntl, os, struct, sys, time
        fd = os.open(sys.argv[1], os.O_RDWR)
        lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, (1 << 62) + 2, 1, 0)
        fcntl.fcntl(fd, 37, lock)
        print('locked', flush=True)
        time.sleep(1000)
        """

    @Test(.enabled(if: Shell.has("python3"), "python3 is what takes the lock"))
    func `a job of another process is busy until that process is killed`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let store = try BitmapStore.create(path, for: device)
        try store.add("b")
        try store.mark("b", [0..<1])
        let id = try store.beginJob(request).record.id
        #expect(id == 2)
        #expect(try store.jobs().map(\.isRunning) == [false])
        let child = try Child(["python3", "-c", Self.claimer, path.string], in: scratch)
        #expect(child.wait { $0.output.contains("locked") })
        #expect(try store.jobs().map(\.isRunning) == [true])
        #expect(throws: BitmapStoreError.self) { try store.remove("b") }
        #expect(throws: BitmapStoreError.self) { try store.resumeJob(id) }
        child.kill(group: SIGKILL)
        #expect(try store.jobs().map(\.isRunning) == [false])
        #expect(try store.resumeJob(id).loadRemaining().dirtyBytes == 65536)
    }

    @Test(.enabled(if: Shell.has("flock"), "flock(1) is what keeps it locked"))
    func `who keeps the store locked is named`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        _ = try BitmapStore.create(path, for: device)
        let child = try Child(
            ["flock", path.string, "sh", "-c", "echo locked; sleep 1000"], in: scratch)
        #expect(child.wait { $0.output.contains("locked") })
        do throws(BitmapStoreError) {
            let file = try DiskFile.open(path, access: .readWrite, lockAttempts: 2)
            _ = try BitmapStore.open(file, for: nil)
            Issue.record("the lock was not respected")
        } catch {
            guard case .locked(path, let holder) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(holder?.command == "flock")
        }
        child.kill(group: SIGKILL)
        _ = try BitmapStore.open(path, for: nil, access: .readOnly)
    }

    @Test func `a recorder's marks are kept, and its death is remembered`() throws {
        let scratch = try Scratch()
        let path = FilePath(scratch.path("store"))
        let store = try BitmapStore.create(path, for: device)
        try store.add("b")
        var session: RecordingSession? = try store.record("b")
        session?.set(0..<1)
        #expect(throws: BitmapStoreError.self) { try store.record("b") }
        try session?.close()
        #expect(try store.load("b").dirtyBytes == 65536)
        session = try store.record("b")
        session?.set(65536..<65537)
        session = nil
        #expect(try store.bitmaps().map(\.state) == [.inconsistent])
        #expect(try store.load("b").dirtyBytes == 1 << 30)
        #expect(throws: BitmapStoreError.self) { try store.mark("b", [0..<1]) }
        try store.remove("b")
        #expect(try store.bitmaps().isEmpty)
    }
}
