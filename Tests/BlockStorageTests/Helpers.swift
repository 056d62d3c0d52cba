import Foundation
import Glibc
import TestSupport

enum JSONCoding {
    static func roundTrip<Value: Codable>(_ value: Value) throws -> Value {
        try JSONDecoder().decode(Value.self, from: JSONEncoder().encode(value))
    }
}

/// Another process that keeps a path open for writing and does nothing else.
final class Holder {
    private let process = Process()
    var pid: Int { Int(process.processIdentifier) }

    init(writing path: String) throws {
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "exec 9<>\"$0\"; exec sleep 60", path]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // The shell becomes sleep only after it has opened the path.
        for _ in 0..<500 where command != "sleep" { usleep(10_000) }
    }

    private var command: String {
        let text = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
        return text?.trimmingCharacters(in: .newlines) ?? ""
    }

    deinit {
        // A thread of the test runner may have blocked SIGTERM, and the child has inherited that.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}
