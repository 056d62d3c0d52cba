import RingMirror
import SystemPackage

/// Where the control sockets of jobs are: in a directory of each user that others can't write.
///
/// A directory that anybody else could have put there is never used: a socket in it could be
/// another one than that of a job.
enum ControlDirectory {
    /// Why there is no directory for sockets.
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    /// The directory of the user who runs this process. It is made if it is missing.
    static func own(_ user: ControlUser = .current) throws(Refusal) -> OpenDirectory {
        var reasons: [String] = []
        for path in user.places {
            do throws(Refusal) {
                do throws(Errno) { try OpenDirectory.make(path) } catch {
                    throw Refusal(description: "\(path): \(error)")
                }
                return try open(path, of: user.id)
            } catch {
                reasons.append(error.description)
            }
        }
        throw Refusal(description: reasons.joined(separator: "; "))
    }

    /// All directories that there are and that this user may look into.
    static func all(_ user: ControlUser = .current) -> [OpenDirectory] {
        let own = user.places.compactMap { path in
            try? open(path, of: user.id)
        }
        guard user.id == 0, user.chosen == nil else { return own }
        return own
            + ControlUser.places(ofOthersIn: "/run/user", "/tmp").compactMap { place in
                try? open(place.path, of: place.id)
            }
    }

    /// Opens a directory that has to belong to a user, and to be writable by nobody else.
    static func open(_ path: FilePath, of user: UInt32) throws(Refusal) -> OpenDirectory {
        let directory: OpenDirectory
        do throws(Errno) { directory = try OpenDirectory(path) } catch {
            // A symbolic link is no directory here, wherever it leads.
            throw Refusal(description: "\(path): \(error)")
        }
        guard directory.owner == user else {
            throw Refusal(description: "\(path) belongs to user \(directory.owner), not \(user)")
        }
        guard !directory.isWritableByOthers else {
            throw Refusal(description: "\(path) can be written by others than its owner")
        }
        return directory
    }

    /// The name of the socket of a process.
    static func name(pid: Int32) -> String { "\(pid).sock" }

    /// The process that a socket is named after; nil if it is none of ours.
    static func pid(of name: String) -> Int32? {
        guard name.hasSuffix(".sock"), let pid = Int32(name.dropLast(5)), pid > 0,
            name == self.name(pid: pid)
        else { return nil }
        return pid
    }
}

/// A user with the places where sockets of that user's jobs may be.
struct ControlUser {
    let id: UInt32
    /// The one place that is to be used; nil for the usual ones.
    var chosen: FilePath?
    /// The directory that a session has for such things.
    var session: FilePath?

    /// The one that this process runs as.
    static var current: ControlUser {
        ControlUser(
            id: Environment.user, chosen: Environment.path("RINGMIRROR_RUN_DIR"),
            session: Environment.path("XDG_RUNTIME_DIR"))
    }

    /// The best one first.
    var places: [FilePath] {
        if let chosen { return [chosen] }
        let fallback = FilePath("/tmp/ringmirror-\(id)")
        if id == 0 { return ["/run/ringmirror", fallback] }
        guard let session, session.isAbsolute else { return [fallback] }
        return [session.appending("ringmirror"), fallback]
    }

    /// Where users have their sockets, by the names of directories that are there: sessions have
    /// one that is named by the user's number.
    static func places(
        ofOthersIn sessions: FilePath, _ temporary: FilePath
    ) -> [(path: FilePath, id: UInt32)] {
        func names(_ path: FilePath) -> [String] { (try? OpenDirectory(path))?.names ?? [] }
        let prefix = "ringmirror-"
        let inSessions = names(sessions).compactMap { name in
            number(name).map { (sessions.appending(name).appending("ringmirror"), $0) }
        }
        let inTemporary = names(temporary).filter { $0.hasPrefix(prefix) }.compactMap { name in
            number(name.dropFirst(prefix.count)).map { (temporary.appending(name), $0) }
        }
        return (inSessions + inTemporary).filter { $0.1 != 0 }.map { (path: $0.0, id: $0.1) }
    }

    private static func number(_ text: some StringProtocol) -> UInt32? {
        UInt32(text).flatMap { "\($0)" == text ? $0 : nil }
    }
}
