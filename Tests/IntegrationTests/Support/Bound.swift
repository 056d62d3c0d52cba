import Foundation
import Glibc
import TestSupport

/// A value of a limit below which a command runs.
struct Bound: CustomStringConvertible {
    enum Kind: String {
        /// Tasks of a user, and of a control group.
        case nproc, pids
        case nofile, memlock, fsize, stack
        /// Bytes of the address space, and of what of it can be written.
        case addressSpace = "as"
        case data
    }

    let kind: Kind
    let value: Int
    var description: String { "\(kind) \(value)" }

    static func each(_ kind: Kind, _ values: some Sequence<Int>) -> [Bound] {
        values.map { Bound(kind: kind, value: $0) }
    }
}

/// A folder in which a bounded command runs, as a user whom nothing else belongs to: several limits
/// count what a user has, and are none for root.
final class BoundScene {
    let scratch: Scratch
    private let bound: Bound
    private let program: String
    private let user: uid_t
    private let group: String?

    private static let firstUser: uid_t = 61_000
    nonisolated(unsafe) private static var users: uid_t = 0

    /// Where control groups for numbers of tasks can be made; nil if nowhere.
    static let groups: String? = {
        for place in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let group = "\(place)/ringmirror-test-\(getpid())"
            guard mkdir(group, 0o755) == 0 else { continue }
            defer { rmdir(group) }
            if access(group + "/pids.max", W_OK) == 0 { return place }
        }
        return nil
    }()

    init(_ bound: Bound, program: String) throws {
        self.bound = bound
        self.program = program
        scratch = try Scratch(mode: 0o777)
        Self.users = (Self.users + 1) % 1000
        user = Self.firstUser + Self.users
        if bound.kind == .pids, let place = Self.groups {
            let group = "\(place)/\((scratch.path as NSString).lastPathComponent)"
            try FileManager.default.createDirectory(
                atPath: group, withIntermediateDirectories: false)
            // The tasks of a process that has ended are gone a little later.
            scratch.onCleanup { _ in
                for _ in 0..<1000 {
                    guard rmdir(group) != 0, errno == EBUSY else { return }
                    usleep(2000)
                }
            }
            try "\(bound.value)".write(
                toFile: group + "/pids.max", atomically: false, encoding: .utf8)
            self.group = group
        } else {
            group = nil
        }
    }

    func start(_ command: [String], isBounded: Bool = true) throws -> Child {
        for name in try FileManager.default.contentsOfDirectory(atPath: scratch.path) {
            chown(scratch.path(name), user, user)
        }
        let become = [
            "setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups",
            "--bounding-set=-all", "--inh-caps=-all",
        ]
        return try Child(
            ["env", "-C", scratch.path, "RINGMIRROR_STATE_DIR=\(scratch.path)/state"]
                + (isBounded ? prefix : []) + become + [program] + command, in: scratch)
    }

    private var prefix: [String] {
        if let group { return ["sh", "-c", "echo $$ >\(group)/cgroup.procs; exec \"$@\"", "sh"] }
        return ["prlimit", "--\(bound.kind.rawValue)=\(bound.value):\(bound.value)"]
    }
}
