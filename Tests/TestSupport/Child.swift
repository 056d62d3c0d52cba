import Foundation
import Glibc

/// A program that runs while its test goes on. Its output goes to files, so that it never waits for
/// a reader. When the test lets go of it, it is killed, and with it every process that it started.
public final class Child {
    /// How a child ended.
    public struct End: Sendable {
        /// The exit code; nil if a signal ended it.
        public let code: Int32?
        public let signal: Int32?
        public let output: String
        public let errors: String
    }

    /// A child that did not end in time. It has been killed.
    public struct Hung: Error, CustomStringConvertible {
        public let command: String
        public let seconds: Double
        public let errors: String

        public var description: String {
            "`\(command)` was still running after \(seconds) s; it had said: \(errors)"
        }
    }

    public let pid: pid_t
    private let command: [String]
    private let outputPath: String
    private let errorPath: String
    private var end: End?

    /// Starts a program found in PATH, in a process group of its own.
    ///
    /// - Parameters:
    ///   - closing: standard descriptors that the program finds closed instead of open.
    public init(_ command: [String], in scratch: Scratch, closing: [CInt] = []) throws {
        self.command = command
        let stem = scratch.path("child-\(UInt32.random(in: 0 ... .max))")
        outputPath = stem + ".out"
        errorPath = stem + ".err"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let mode = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, outputPath, mode, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errorPath, mode, 0o600)
        // What other tests have open belongs to them: a disk or image would stay in use for as long
        // as this program runs.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        for descriptor in closing { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The threads that tests run on block and ignore signals; a child must not inherit that.
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var arguments = command.map { strdup($0) } + [nil]
        var environment = Self.environment.map { strdup($0) } + [nil]
        defer { for text in arguments + environment { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawnp(
            &pid, command[0], &actions, &attributes, &arguments, &environment)
        guard code == 0 else { throw POSIXError(.init(rawValue: code) ?? .EIO) }
        self.pid = pid
    }

    deinit { if end == nil { kill(group: SIGKILL) } }

    /// The backtracer would take its time over each crash; a signal says enough.
    private static let environment: [String] = {
        var variables = ProcessInfo.processInfo.environment
        variables["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        variables["LC_ALL"] = "C"
        variables["SWIFT_BACKTRACE"] = "enable=no"
        return variables.map { "\($0.key)=\($0.value)" }
    }()

    /// What the program has written to standard output so far.
    public var output: String { Self.text(outputPath) }

    /// What the program has written to standard error so far.
    public var errors: String { Self.text(errorPath) }

    public func send(_ signal: CInt) { Glibc.kill(pid, signal) }

    public var isRunning: Bool { poll() == nil }

    /// Waits for the program to end by itself.
    ///
    /// - Throws: `Hung` if it does not.
    @discardableResult
    public func wait(seconds: Double = 40) throws -> End {
        if let end = poll(until: seconds) { return end }
        let errors = errors
        kill(group: SIGKILL)
        throw Hung(command: command.joined(separator: " "), seconds: seconds, errors: errors)
    }

    /// Ends the program and what it started, now.
    public func kill(group signal: CInt) {
        guard end == nil else { return }
        Glibc.kill(-pid, signal)
        if signal == SIGKILL { _ = poll(until: 10) }
    }

    /// Waits until something is so, or the program has ended.
    ///
    /// - Returns: whether it became so.
    public func wait(until condition: (Child) -> Bool, seconds: Double = 20) -> Bool {
        let deadline = Date().addingTimeInterval(seconds)
        while Date() < deadline {
            if condition(self) { return true }
            guard isRunning else { return condition(self) }
            usleep(5_000)
        }
        return false
    }

    private func poll(until seconds: Double) -> End? {
        let deadline = Date().addingTimeInterval(seconds)
        while Date() < deadline {
            if let end = poll() { return end }
            usleep(2_000)
        }
        return poll()
    }

    private func poll() -> End? {
        if let end { return end }
        var status: CInt = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
        let signal = status & 0x7f
        end = End(
            code: signal == 0 ? (status >> 8) & 0xff : nil, signal: signal == 0 ? nil : signal,
            output: output, errors: errors)
        return end
    }

    private static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
