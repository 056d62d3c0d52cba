import Dispatch
import Foundation
import Glibc
import RingMirror

/// Mirrors one file onto another in a folder of its own, and says what the mirror rests on.
///
/// The modules above are those of the toolchain that other programs use, too; each must go with
/// the library in one program. Ends with 0 only if the target is a mirror.
@main
struct Outside {
    static func main() async throws {
        let folder = NSTemporaryDirectory() + "ringmirror-outside-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        let start = DispatchTime.now()
        let isMirror = await mirrored(in: folder)
        let nanoseconds = DispatchTime.now().uptimeNanoseconds - start.uptimeNanoseconds
        print("\(nanoseconds / 1_000_000) ms, \(cpuMilliseconds()) ms of CPU")
        try FileManager.default.removeItem(atPath: folder)
        exit(isMirror ? 0 : 1)
    }

    private static func mirrored(in folder: String) async -> Bool {
        do {
            let bytes = Data((0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 / 7) })
            try bytes.write(to: URL(fileURLWithPath: folder + "/disk.img"))
            let source = try Disk.openSource(FilePath(folder + "/disk.img"))
            let target = try Disk.openTarget(
                FilePath(folder + "/copy.img"), for: source,
                options: TargetOptions(create: true))
            let store = try BitmapStore.openOrCreate(
                StorePlace.path(for: source), for: source.identity)
            try store.add("nightly", granularity: .default)
            var request = RecordedMirror.Request(.full)
            request.bitmap = "nightly"
            request.verification = .all
            let mirror = try RecordedMirror.full(
                from: source, to: target, request: request, records: .store(store))
            let report = await mirror.run()
            print("\(report.mirror.outcome), \(report.claim.kind)")
            for evidence in report.claim.evidence { print("  rests on: \(evidence.text)") }
            guard case .mirrored = report.mirror.outcome, report.claim.kind == .mirror else {
                return false
            }
            let copy = try Data(contentsOf: URL(fileURLWithPath: folder + "/copy.img"))
            return copy == bytes
        } catch {
            print(error)
            return false
        }
    }

    private static func cpuMilliseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}
