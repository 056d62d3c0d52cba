import Foundation
import Glibc
import RingMirror
import Testing

/// A host that has not ignored SIGXFSZ: the limit of a file's size is an error of the call that met
/// it, on the caller's own thread as on those of a job.
@Suite struct FileSizeTests {
    private static let size = 4 << 20

    /// Limits the files of this process, and makes their signal end it.
    private static func limitFiles(to bytes: Int) throws {
        _ = signal(SIGXFSZ, SIG_DFL)
        var limit = sigset_t()
        sigemptyset(&limit)
        sigaddset(&limit, SIGXFSZ)
        try #require(pthread_sigmask(SIG_UNBLOCK, &limit, nil) == 0)
        var bound = rlimit(rlim_cur: rlim_t(bytes), rlim_max: .max)
        try #require(setrlimit(1, &bound) == 0)  // RLIMIT_FSIZE
    }

    private static func makeSource(in folder: String) throws -> Disk {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/source.img"
        let bytes = Data((0..<size).map { UInt8($0 % 251) })
        try bytes.write(to: URL(fileURLWithPath: path))
        return try Disk.openSource(FilePath(path))
    }

    @Test func `a new image, a store and a job end with an error, and the process goes on`() async {
        await #expect(processExitsWith: .success) {
            let folder = NSTemporaryDirectory() + "ringmirror-size-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let source = try Self.makeSource(in: folder)
            var failures = 0
            for limit in [0, 4096, 70_000, 1 << 20, Self.size - 1] {
                try Self.limitFiles(to: limit)
                for name in ["t.img", "t.qcow2"] {
                    let path = FilePath("\(folder)/\(limit)-\(name)")
                    do {
                        let target = try Disk.openTarget(
                            path, for: source, options: TargetOptions(create: true))
                        let job = try MirrorJob.full(from: source, to: target)
                        if case .mirrored = job.runAndWait().outcome { continue }
                        failures += 1
                    } catch {
                        failures += 1
                    }
                }
                do {
                    let store = try BitmapStore.openOrCreate(
                        FilePath("\(folder)/\(limit).bitmaps"), for: source.identity)
                    try store.add("n")
                } catch {
                    failures += 1
                }
            }
            // Neither image fits any limit; a store does not fit the first two.
            try #require(failures >= 12, "\(failures)")
        }
    }
}
