import Foundation
import Glibc
import TestSupport
import Testing

/// Random histories of disks, bitmaps and mirrors against a naive model of bytes: whatever happens,
/// nothing is called a mirror that is not one, but where nobody could have known.
@Suite(.serialized)
struct HistoryTests {
    /// Kinds of faults that are known and not mended yet: with the last of them this goes.
    private static let known: Set<String> = []

    /// A folder where flushing costs no time, if there can be one.
    private let scratch: Scratch
    private let folder: String

    init() throws {
        scratch = try Scratch()
        folder = geteuid() == 0 ? try scratch.mount("tmpfs", type: "tmpfs") : scratch.path
    }

    @Test(arguments: SourceKind.allCases)
    func `histories by the library`(_ kind: SourceKind) throws {
        run(500, kind) { files, kind, _ in LibraryRig(files: files, kind: kind) }
    }

    @Test(.enabled(if: Shell.has("qemu-img", "qemu-io")), arguments: SourceKind.allCases)
    func `histories by the program`(_ kind: SourceKind) throws {
        let program = try #require(Self.program, "there is no ringmirror: set RINGMIRROR_BINARY")
        run(10, kind) { files, kind, scratch in
            CommandRig(files: files, kind: kind, scratch: scratch, program: program)
        }
    }

    /// The built program: `RINGMIRROR_BINARY`, or the one beside the test bundle.
    private static let program: String? = {
        if let path = ProcessInfo.processInfo.environment["RINGMIRROR_BINARY"] { return path }
        let folders = [
            Bundle.main.bundleURL.deletingLastPathComponent(), Bundle.main.bundleURL,
            URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent(),
        ]
        return folders.map { $0.appendingPathComponent("ringmirror").path }.first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
    }()

    private func run(_ usual: Int, _ kind: SourceKind, _ makeRig: History.MakeRig) {
        let first = RandomTest.seed(default: 1)
        let isReplay = ProcessInfo.processInfo.environment["RINGMIRROR_SEED"] != nil
        let count = RandomTest.events(default: isReplay ? 1 : usual)
        var faults: [String: Int] = [:]
        var tally = Tally()
        for seed in first..<first + UInt64(count) {
            let history = History(seed: seed, kind: kind)
            guard let fault = history.fault(of: history.steps, in: folder, &tally, makeRig) else {
                continue
            }
            let kindOfFault = String(fault.what.prefix { $0 != " " && $0 != ":" })
            faults[kindOfFault, default: 0] += 1
            if Self.known.contains(kindOfFault) { continue }
            // The first of each kind tell enough.
            guard faults[kindOfFault, default: 0] <= 2 else { continue }
            Issue.record("\(history.story(of: fault, in: folder, makeRig))")
        }
        print("\(kind.rawValue): \(tally.text); faults: \(faults)")
        #expect(Set(faults.keys).isSubset(of: Self.known))
        guard tally.histories >= 50 else { return }
        #expect(tally.successes(of: "full") >= 60)
        #expect(tally.successes(of: "incremental") >= 30)
        #expect(tally.successes(of: "resumed") >= 5)
    }
}
