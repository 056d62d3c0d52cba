import Foundation

/// Runs the tools that make the situations we test in.
public enum Shell {
    public struct Failure: Error, CustomStringConvertible {
        public let command: String
        public let status: Int32
        public let output: String

        public var description: String { "`\(command)` ended with \(status): \(output)" }
    }

    /// Runs a program found in PATH and gives its output, both streams together.
    ///
    /// - Throws: `Failure` if it ends with anything but 0.
    @discardableResult
    public static func run(_ command: String, _ arguments: String...) throws -> String {
        try run(command, arguments)
    }

    @discardableResult
    public static func run(_ command: String, _ arguments: [String]) throws -> String {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // Tools such as losetup live where an ordinary user's PATH does not look.
        process.arguments = ["PATH=\(path)", "LC_ALL=C", command] + arguments
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let output = String(decoding: bytes, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        guard process.terminationStatus == 0 else {
            throw Failure(
                command: ([command] + arguments).joined(separator: " "),
                status: process.terminationStatus, output: output)
        }
        return output
    }

    /// True if every one of these programs is installed.
    public static func has(_ commands: String...) -> Bool {
        commands.allSatisfy { command in
            path.split(separator: ":").contains {
                FileManager.default.isExecutableFile(atPath: "\($0)/\(command)")
            }
        }
    }

    private static let path =
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}
