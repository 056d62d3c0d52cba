import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import RingMirrorCLI

/// Where control sockets are, and where they never are.
@Suite struct ControlDirectoryTests {
    private let user = geteuid()

    private func refusal(_ path: String) -> String {
        do throws(ControlDirectory.Refusal) {
            _ = try ControlDirectory.open(FilePath(path), of: user)
            return ""
        } catch {
            return error.description
        }
    }

    @Test func `places of users`() {
        #expect(ControlUser(id: 0).places == ["/run/ringmirror", "/tmp/ringmirror-0"])
        #expect(ControlUser(id: 7).places == ["/tmp/ringmirror-7"])
        #expect(
            ControlUser(id: 7, session: "/run/user/7").places == [
                "/run/user/7/ringmirror", "/tmp/ringmirror-7",
            ])
        #expect(ControlUser(id: 7, session: "here").places == ["/tmp/ringmirror-7"])
        #expect(ControlUser(id: 0, session: "/x").places.count == 2)
        #expect(ControlUser(id: 0, chosen: "/c", session: "/x").places == ["/c"])
    }

    @Test func `a directory is made for its owner alone`() throws {
        let scratch = try Scratch(mode: 0o777)
        let path = FilePath(scratch.path("run"))
        let made = try ControlDirectory.own(ControlUser(id: user, chosen: path))
        #expect(made.owner == user && !made.isWritableByOthers)
        var status = stat()
        #expect(stat(path.string, &status) == 0 && status.st_mode & 0o777 == 0o700)
        // And found again.
        #expect(ControlDirectory.all(ControlUser(id: user, chosen: path)).count == 1)
    }

    @Test func `a symbolic link is no directory`() throws {
        let scratch = try Scratch()
        let real = scratch.path("real")
        mkdir(real, 0o700)
        symlink(real, scratch.path("link"))
        symlink(scratch.path("nothing"), scratch.path("dangling"))
        for name in ["link", "dangling"] {
            #expect(!refusal(scratch.path(name)).isEmpty, "\(name)")
            let chosen = ControlUser(id: user, chosen: FilePath(scratch.path(name)))
            #expect(throws: ControlDirectory.Refusal.self) { try ControlDirectory.own(chosen) }
            #expect(ControlDirectory.all(chosen).isEmpty)
        }
        #expect(access(scratch.path("nothing"), F_OK) != 0)
        #expect(refusal(real).isEmpty)
    }

    @Test func `a file is no directory`() throws {
        let scratch = try Scratch()
        #expect(!refusal(try scratch.file("file", size: 0)).isEmpty)
    }

    @Test(arguments: [0o770, 0o702, 0o1777] as [mode_t])
    func `a directory that others can write is not used`(mode: mode_t) throws {
        let scratch = try Scratch()
        mkdir(scratch.path("run"), 0o700)
        chmod(scratch.path("run"), mode)
        #expect(refusal(scratch.path("run")).contains("others"))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func `a directory of another user is not used`() throws {
        let scratch = try Scratch()
        mkdir(scratch.path("run"), 0o700)
        chown(scratch.path("run"), 65_534, 65_534)
        #expect(refusal(scratch.path("run")).contains("belongs to user 65534"))
    }

    @Test func `the next place is taken where the first can't be`() throws {
        let scratch = try Scratch()
        let session = FilePath(try scratch.file("file", size: 0))
        let places = ControlUser(id: user, session: session).places
        guard user != 0 else { return }
        #expect(try ControlDirectory.own(ControlUser(id: user, session: session)).path == places[1])
    }

    /// A name that another user has taken says nothing about who that is.
    @Test func `directories of others are known by their numbers`() throws {
        let scratch = try Scratch()
        for name in ["run", "run/1000", "run/01000", "run/x", "tmp"] {
            mkdir(scratch.path(name), 0o755)
        }
        for name in ["ringmirror-1001", "ringmirror-", "ringmirror-0", "ringmirror--1", "o-5"] {
            mkdir(scratch.path("tmp/" + name), 0o755)
        }
        let places = ControlUser.places(
            ofOthersIn: FilePath(scratch.path("run")), FilePath(scratch.path("tmp")))
        #expect(
            places.map(\.path) == [
                FilePath(scratch.path("run/1000/ringmirror")),
                FilePath(scratch.path("tmp/ringmirror-1001")),
            ])
        #expect(places.map(\.id) == [1000, 1001])
    }

    @Test func `names of sockets`() {
        #expect(ControlDirectory.pid(of: ControlDirectory.name(pid: 12)) == 12)
        for name in [
            "12", "0.sock", "-1.sock", "012.sock", "+1.sock", ".12.sock", "x.sock", ".sock",
            "99999999999.sock", "12.sock ",
        ] {
            #expect(ControlDirectory.pid(of: name) == nil, "\(name)")
        }
    }

    // MARK: Sockets

    private func directory(_ scratch: Scratch) throws -> OpenDirectory {
        try ControlDirectory.own(
            ControlUser(id: user, chosen: FilePath(scratch.path("run"))))
    }

    @Test func `a socket is for its owner alone, and goes with its listener`() throws {
        let scratch = try Scratch()
        let directory = try directory(scratch)
        var listener: ControlListener? = try ControlListener(in: directory, name: "5.sock")
        var status = stat()
        #expect(stat(scratch.path("run/5.sock"), &status) == 0)
        #expect(status.st_mode & S_IFMT == S_IFSOCK && status.st_mode & 0o777 == 0o600)
        #expect(directory.names.filter { $0.hasSuffix("sock") } == ["5.sock"])
        _ = try ControlListener.connect("5.sock", in: directory)
        #expect(listener != nil)
        listener = nil
        #expect(directory.socket("5.sock") == nil)
    }

    @Test func `a socket that is answered keeps its name, a dead one gives it up`() throws {
        let scratch = try Scratch()
        let directory = try directory(scratch)
        let first = try ControlListener(in: directory, name: "5.sock")
        #expect(throws: ControlDirectory.Refusal.self) {
            try ControlListener(in: directory, name: "5.sock")
        }
        // As a killed process leaves it.
        first.socket.stopListening()
        let second = try ControlListener(in: directory, name: "5.sock")
        // What is not one's own is not removed.
        first.remove()
        #expect(directory.socket("5.sock") != nil)
        second.remove()
        #expect(directory.socket("5.sock") == nil)
    }

    /// The path of a socket in an address is short.
    @Test func `the directory may have a long name`() throws {
        let scratch = try Scratch()
        let deep = scratch.path(String(repeating: "d", count: 200))
        let directory = try ControlDirectory.own(
            ControlUser(id: user, chosen: FilePath(deep)))
        let listener = try ControlListener(in: directory, name: "5.sock")
        #expect(throws: Never.self) { try ControlClient("5.sock", in: directory) }
        _ = listener
    }

    @Test func `a link in the place of a socket is not followed`() throws {
        let scratch = try Scratch()
        let directory = try directory(scratch)
        let listener = try ControlListener(in: directory, name: "5.sock")
        symlink(scratch.path("run/5.sock"), scratch.path("run/6.sock"))
        #expect(directory.socket("6.sock") == nil)
        _ = listener
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func `a socket of another user than its directory gets no request`() throws {
        let scratch = try Scratch()
        let directory = try directory(scratch)
        let listener = try ControlListener(in: directory, name: "5.sock")
        chown(scratch.path("run"), 65_534, 65_534)
        let foreign = try OpenDirectory(FilePath(scratch.path("run")))
        #expect(throws: ControlClient.Failure.self) { try ControlClient("5.sock", in: foreign) }
        _ = listener
    }
}
