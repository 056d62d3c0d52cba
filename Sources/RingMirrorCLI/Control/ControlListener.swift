import RingMirror
import SystemPackage

/// The socket of this process in its directory. Its file goes with `remove`, or with the last
/// reference.
final class ControlListener: Sendable {
    let socket: UnixSocket
    let path: FilePath
    private let directory: OpenDirectory
    private let name: String
    private let identity: Files.Identity?

    /// - Throws: why there is no socket. A job does without one.
    convenience init() throws(ControlDirectory.Refusal) {
        if let reason = Environment.shortage { throw ControlDirectory.Refusal(description: reason) }
        try self.init(
            in: ControlDirectory.own(), name: ControlDirectory.name(pid: Output.processID))
    }

    init(in directory: OpenDirectory, name: String) throws(ControlDirectory.Refusal) {
        self.directory = directory
        self.name = name
        path = directory.path.appending(name)
        // A socket that nobody listens at is taken for one that is left over, so that it gets its
        // name when somebody does.
        let temporary = "." + name
        do throws(Errno) {
            guard !Self.isAnswered(name, in: directory) else { throw .addressInUse }
            directory.remove(temporary)
            socket = try Self.withPath(temporary, in: directory) { path throws(Errno) in
                try UnixSocket.listening(at: path, backlog: 64)
            }
            do throws(Errno) {
                try directory.rename(temporary, to: name)
            } catch {
                directory.remove(temporary)
                throw error
            }
        } catch {
            throw ControlDirectory.Refusal(description: "\(path): \(error)")
        }
        identity = directory.socket(name)
    }

    deinit { remove() }

    /// Removes the file, if it is still the one that was made: nobody finds the socket any more.
    func remove() {
        if let identity, directory.socket(name) == identity { directory.remove(name) }
    }

    /// Whether a process listens at the socket of a name.
    private static func isAnswered(_ name: String, in directory: OpenDirectory) -> Bool {
        guard directory.socket(name) != nil else { return false }
        do throws(Errno) {
            _ = try connect(name, in: directory)
            return true
        } catch {
            return error != .connectionRefused && error != .noSuchFileOrDirectory
        }
    }

    /// Connects to the socket of a name.
    static func connect(_ name: String, in directory: OpenDirectory) throws(Errno) -> UnixSocket {
        try withPath(name, in: directory) { path throws(Errno) in
            try UnixSocket.connected(to: path)
        }
    }

    /// The way that stays in the directory first, then the one that needs no /proc.
    private static func withPath(
        _ name: String, in directory: OpenDirectory,
        _ body: (FilePath) throws(Errno) -> UnixSocket
    ) throws(Errno) -> UnixSocket {
        do throws(Errno) {
            return try body(directory.steadyPath(name))
        } catch {
            guard error == .noSuchFileOrDirectory || error == .notDirectory else { throw error }
            return try body(directory.path.appending(name))
        }
    }
}
