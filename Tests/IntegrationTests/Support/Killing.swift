import Glibc
import TestSupport
import Testing

/// Ends the program in the middle.
enum Killing {
    /// System calls that change a file.
    static let files =
        "pwrite64,pwritev,pwritev2,fallocate,ftruncate,fsync,fdatasync,rename,renameat2,linkat"
    /// Those, and what sends requests that do.
    static let all = "io_uring_enter," + files
}

extension Scratch {
    /// Runs a command again and again, killed at a later call each time, until it comes to its end;
    /// after each time `check` looks at what it has left.
    ///
    /// - Parameters:
    ///   - path: what the command has to make anew, and is removed before.
    ///   - everyCall: leave none out.
    func killed(
        _ command: [String], at calls: String = Killing.all, removing path: String? = nil,
        everyCall: Bool = false, check: (String) throws -> Void
    ) throws {
        var generator = RandomTest.generator(defaultSeed: 0x7f00)
        let seed = generator.seed
        var when = 1
        var rounds = 0
        while true {
            if let path { unlink(path) }
            let prefix = [
                "strace", "-f", "-o", "/dev/null", "-e", "trace=\(calls)",
                "-e", "inject=\(calls):signal=SIGKILL:when=\(when)",
            ]
            let end = try run(command, prefix: prefix)
            rounds += 1
            let replay = "killed at call \(when), RINGMIRROR_SEED=\(seed)"
            // strace dies of the same signal as what it traces.
            guard end.signal == SIGKILL || end.code == 137 else {
                #expect(end.code == Code.done, "\(end) \(replay)")
                break
            }
            try check(replay)
            when += everyCall ? 1 : Int.random(in: 1...max(1, when), using: &generator)
        }
        #expect(rounds > 3, "it ended before it could be killed")
    }
}
