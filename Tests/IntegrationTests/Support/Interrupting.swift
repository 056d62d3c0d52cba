import Foundation
import TestSupport
import Testing

/// Stops the program in the middle, and goes on with what it has left.
enum Interrupting {
    /// So slow that a command is still copying when it is stopped.
    static let slow = ["--speed", "2M", "--request-size", "64K"]
}

extension Scratch {
    /// Runs a command until it has copied something, and stops it.
    ///
    /// - Parameters:
    ///   - opened: what another process opens for writing before that, if anything.
    ///   - signal: SIGKILL leaves it no time to say anything.
    func interrupt(
        _ arguments: [String], opening opened: String? = nil, by signal: CInt = SIGTERM
    ) throws {
        let child = try start(arguments + ["--json", "--progress"] + Interrupting.slow)
        #expect(child.waitForProgress())
        if let opened { try Shell.run("sh", "-c", "exec 3<>\(opened)") }
        child.send(signal)
        let end = try child.wait()
        #expect(signal == SIGKILL || end.code == Code.interrupted, "\(end)")
        // The next write is in another tick of the clock for the times of files.
        usleep(20_000)
    }

    /// Runs a refused command twice: a refusal changes nothing.
    func expectRefused(
        _ arguments: [String], _ code: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for _ in 0..<2 {
            let end = try run(arguments + ["--json"])
            #expect(end.code == Code.refused, "\(end)", sourceLocation: sourceLocation)
            #expect(
                end.events.last?.text("code") == code, "\(end)", sourceLocation: sourceLocation)
        }
    }

    /// Runs a command that has to make a mirror, and returns its report.
    @discardableResult
    func mirrorOnwards(_ arguments: [String]) throws -> Event {
        let end = try run(arguments + ["--json"])
        #expect(end.code == Code.done, "\(end)")
        let report = try end.report()
        #expect(report.text("outcome") == "mirrored", "\(end)")
        return report
    }
}

extension Event {
    /// The codes of what a claim rests on.
    var evidence: [String] { list("evidence").compactMap { $0.text("code") } }
}
