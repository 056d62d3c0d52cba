import Foundation
import Glibc
import TestSupport
import Testing

/// Scenarios of disks, mounts, swap and faults. They run one after another: all of that belongs to
/// the whole machine.
@Suite(.serialized)
enum Integration {}

/// Scenarios of files and processes, which disturb nobody and run beside the others; one after
/// another too, because some of them look how far a job has come.
@Suite(.serialized)
enum Processes {}

/// What the scenarios need of the machine.
enum Needs {
    static let root = geteuid() == 0
    static let loops = LoopDevice.isAvailable
    static let fuse =
        root && access("/dev/fuse", R_OK | W_OK) == 0
        && Shell.has("nbdkit", "nbdfuse", "fusermount3")
    static let rootReason: Comment = "needs root"
    static let loopsReason: Comment = "needs root and loop devices"
    static let fuseReason: Comment = "needs root, /dev/fuse, nbdkit and nbdfuse"
    static let straceReason: Comment = "needs strace and permission to trace"

    /// In some containers strace is there and ptrace is not.
    static let strace =
        Shell.has("strace") && (try? Shell.run("strace", "-f", "-o", "/dev/null", "true")) != nil
}

/// The program under test.
enum RingMirror {
    /// The built binary: `RINGMIRROR_BINARY`, or the one beside the test bundle.
    static let path: String = {
        if let path = ProcessInfo.processInfo.environment["RINGMIRROR_BINARY"] { return path }
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let places = [
            Bundle.main.bundleURL.deletingLastPathComponent(), Bundle.main.bundleURL,
            URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent(),
            package.appendingPathComponent(".build/debug"),
        ]
        for place in places {
            let path = place.appendingPathComponent("ringmirror").path
            if FileManager.default.isExecutableFile(atPath: path) { return path }
        }
        fatalError("there is no ringmirror in \(places.map(\.path)): set RINGMIRROR_BINARY")
    }()
}

extension Scratch {
    /// Starts ringmirror, through other programs if `prefix` says so.
    func start(
        _ arguments: [String], prefix: [String] = [], closing: [CInt] = []
    ) throws -> Child {
        // What is left of jobs on loop disks must not get into the machine's own state.
        try Child(
            ["env", "RINGMIRROR_STATE_DIR=\(path("state"))"] + prefix + [RingMirror.path]
                + arguments, in: self, closing: closing)
    }

    /// Runs ringmirror to its end.
    func run(_ arguments: String..., prefix: [String] = [], closing: [CInt] = []) throws
        -> Child.End
    {
        try start(arguments, prefix: prefix, closing: closing).wait()
    }

    func run(_ arguments: [String], prefix: [String] = []) throws -> Child.End {
        try start(arguments, prefix: prefix).wait()
    }
}

extension Child {
    /// Waits until a job with `--json --progress` tells that it has done something.
    ///
    /// - Returns: whether it did.
    func waitForProgress() -> Bool {
        wait(until: {
            $0.output.split(separator: "\n").contains {
                $0.contains("progress") && !$0.contains("\"done\":0,")
            }
        })
    }
}

extension Child.End: CustomTestStringConvertible {
    public var testDescription: String {
        "\(code.map { "exit \($0)" } ?? "signal \(signal ?? 0)"), "
            + "stdout: \(output) stderr: \(errors)"
    }

    /// Every line of standard output as a JSON object. A line that is none fails the test.
    var events: [Event] {
        output.split(separator: "\n").compactMap { line in
            let event = Event(String(line))
            if event == nil { Issue.record("not a JSON object: \(line)") }
            return event
        }
    }

    /// The event that tells how it ended.
    func report() throws -> Event {
        let kinds: Set = [
            "report", "error", "compare", "info", "bitmap", "removed", "measure",
        ]
        return try #require(events.last { kinds.contains($0.kind ?? "") }, "no events: \(self)")
    }
}

/// One line of `--json`.
struct Event: @unchecked Sendable {
    let fields: [String: Any]

    init?(_ line: String) {
        guard let fields = try? JSONSerialization.jsonObject(with: Data(line.utf8)),
            let fields = fields as? [String: Any]
        else { return nil }
        self.fields = fields
    }

    var kind: String? { text("event") }
    func text(_ name: String) -> String? { fields[name] as? String }
    func number(_ name: String) -> Int64? { (fields[name] as? NSNumber)?.int64Value }
    func flag(_ name: String) -> Bool? { fields[name] as? Bool }
    func event(_ name: String) -> Event? {
        (fields[name] as? [String: Any]).map { Event(fields: $0) }
    }

    func list(_ name: String) -> [Event] {
        (fields[name] as? [[String: Any]] ?? []).map { Event(fields: $0) }
    }

    private init(fields: [String: Any]) { self.fields = fields }

    struct Failed: Equatable {
        let side: String
        let offset: Int64
        let length: Int64
    }

    /// The list of what could not be copied.
    var failed: [Failed] {
        (fields["failed"] as? [[String: Any]] ?? []).map {
            Failed(
                side: $0["side"] as? String ?? "?",
                offset: ($0["offset"] as? NSNumber)?.int64Value ?? -1,
                length: ($0["length"] as? NSNumber)?.int64Value ?? -1)
        }
    }
}

/// The exit codes of the contract.
enum Code {
    static let done: Int32 = 0
    static let failed: Int32 = 1
    static let usage: Int32 = 2
    static let refused: Int32 = 3
    static let different: Int32 = 4
    static let interrupted: Int32 = 130
}
