import Foundation
import Glibc
import RingMirror
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import RingMirrorCLI

/// The thread that serves the clients of a job: none of them holds up another or the job.
@Suite(.timeLimit(.minutes(2)))
struct ControlServerTests {
    /// A job that notes what it is asked for.
    private final class Noting: Sendable {
        let verbs = Mutex<[JobVerb]>([])
        let phase = Mutex("running")

        var job: SteeredJob {
            SteeredJob(
                apply: { (verb) throws(JobVerbError) in
                    self.verbs.withLock { $0.append(verb) }
                },
                status: {
                    JobStatus(
                        pid: 1, job: 1, kind: "mirror", command: "full", source: "s",
                        startedAt: 0, phase: self.phase.withLock { $0 }, activity: "copying",
                        verbs: [], planned: 2, done: 1, read: 1, written: 1, zeroed: 0,
                        skipped: 0, bytesPerSecond: 1, paused: false)
                })
        }
    }

    private final class Scene {
        let scratch: Scratch
        let directory: OpenDirectory
        let noting = Noting()
        let server: ControlServer
        private var hasEnded = false

        init(user: UInt32 = geteuid(), job: SteeredJob? = nil) throws {
            scratch = try Scratch()
            directory = try ControlDirectory.own(
                ControlUser(id: geteuid(), chosen: FilePath(scratch.path("run"))))
            let listener = try ControlListener(in: directory, name: "1.sock")
            server = try ControlServer(job ?? noting.job, listener, user: user)
        }

        deinit { end() }

        func end() {
            guard !hasEnded else { return }
            hasEnded = true
            noting.phase.withLock { $0 = "ended" }
            server.end()
        }

        func client() throws -> Peer { try Peer(directory) }
    }

    /// A client that may do what it likes.
    private final class Peer {
        private let socket: UnixSocket
        private var lines = ControlLines()
        private var isAtEnd = false

        init(_ directory: OpenDirectory) throws {
            socket = try ControlListener.connect("1.sock", in: directory)
        }

        func send(_ text: String) { send(Array(text.utf8)) }

        /// As much as is taken at once.
        @discardableResult
        func send(_ bytes: [UInt8]) -> Int? { socket.send(bytes[...]) }

        func closeSending() { shutdown(socket.descriptor, CInt(SHUT_WR)) }

        /// The next line; nil at the end, and when none comes.
        func line(seconds: Double = 20) -> [String: Any]? {
            let end = Clock.now + seconds
            while Clock.now < end {
                if case .line(let bytes) = lines.next() {
                    let value = try? JSONSerialization.jsonObject(with: Data(bytes))
                    return value as? [String: Any]
                }
                guard !isAtEnd else { return nil }
                switch socket.receive() {
                case .bytes(let bytes): lines.append(bytes)
                case .end, .broken: isAtEnd = true
                case .nothing:
                    var wait = SocketWait()
                    wait.add(socket, reading: true)
                    wait.wait(milliseconds: 100)
                }
            }
            return nil
        }

        func greet() { #expect(line()?["protocol"] as? Int == 1) }

        func ask(_ text: String) -> [String: Any]? {
            send(text + "\n")
            return line()
        }

        /// All that comes until the end.
        func rest() -> [[String: Any]] {
            var all: [[String: Any]] = []
            while let line = line() { all.append(line) }
            return all
        }
    }

    @Test func `requests are carried out in their order`() throws {
        let scene = try Scene()
        let client = try scene.client()
        client.greet()
        client.send(
            """
            {"do":"pause","id":1}\n{"do":"speed","bytesPerSecond":9,"id":2}\r
            {"do":"nothing","id":3}\n{"do":"cancel","id":"c"}\n
            """)
        let replies = (0..<4).compactMap { _ in client.line() }
        #expect(replies.map { $0["ok"] as? Bool } == [true, true, false, true])
        #expect(replies.map { "\($0["id"] ?? "")" } == ["1", "2", "3", "c"])
        #expect(replies[2]["code"] as? String == "unknownRequest")
        #expect(replies[0]["phase"] as? String == "running")
        #expect(scene.noting.verbs.withLock { $0 } == [.pause, .setSpeed(9), .cancel])
    }

    @Test func `a request may come byte by byte`() throws {
        let scene = try Scene()
        let (client, other) = (try scene.client(), try scene.client())
        client.greet()
        other.greet()
        for byte in #"{"do":"status","id":1}"#.utf8 {
            client.send([byte])
            #expect(other.ask(#"{"do":"status"}"#)?["ok"] as? Bool == true)
        }
        #expect(client.ask("")?["id"] as? Int == 1)
    }

    @Test func `all clients hear of the end`() throws {
        let scene = try Scene()
        let clients = try (0..<5).map { _ in try scene.client() }
        for client in clients { client.greet() }
        _ = clients[0].ask(#"{"do":"watch","everyMilliseconds":3600000,"id":"w"}"#)
        clients[1].send(#"{"do":"stat"#)
        scene.end()
        for (index, client) in clients.enumerated() {
            let rest = client.rest()
            #expect(rest.count == 1, "\(index): \(rest)")
            #expect(rest.last?["phase"] as? String == "ended")
            #expect(rest.last?["id"] as? String == (index == 0 ? "w" : nil))
        }
        #expect(scene.directory.names.allSatisfy { !$0.hasSuffix("sock") })
        #expect(throws: (any Error).self) { try scene.client() }
    }

    @Test func `a watch goes on until the end`() throws {
        let scene = try Scene()
        let client = try scene.client()
        client.greet()
        // Also for a client that has said all that it wants to say.
        client.send("{\"do\":\"watch\",\"everyMilliseconds\":10,\"id\":4}\n")
        client.closeSending()
        for _ in 0..<5 { #expect(client.line()?["id"] as? Int == 4) }
        scene.end()
        #expect(client.rest().last?["phase"] as? String == "ended")
    }

    @Test func `a client that closes its side gets its replies, and then the end`() throws {
        let scene = try Scene()
        let client = try scene.client()
        client.send(String(repeating: "{\"do\":\"status\"}\n", count: 50) + "{\"do\"")
        client.closeSending()
        client.greet()
        #expect(client.rest().count == 50)
    }

    @Test func `more clients than there is room for are told`() throws {
        let scene = try Scene()
        var clients: [Peer] = []
        for _ in 0..<ControlServer.clientsMax {
            clients.append(try scene.client())
            clients.last?.greet()
        }
        for _ in 0..<4 {
            let late = try scene.client()
            late.greet()
            #expect(late.rest().map { $0["code"] as? String } == ["tooManyClients"])
        }
        for client in clients { #expect(client.ask(#"{"do":"status"}"#) != nil) }
        clients.removeLast()
        let next = try scene.client()
        next.greet()
        #expect(next.ask(#"{"do":"status"}"#)?["ok"] as? Bool == true)
    }

    @Test(.enabled(if: geteuid() != 0, "root is served by all"))
    func `another user is refused`() throws {
        let scene = try Scene(user: geteuid() + 1)
        let client = try scene.client()
        client.greet()
        #expect(client.rest().map { $0["code"] as? String } == ["otherUser"])
    }

    @Test func `a client that reads nothing holds up nobody`() throws {
        let scene = try Scene()
        let (deaf, other) = (try scene.client(), try scene.client())
        other.greet()
        let requests = Array(String(repeating: "{\"do\":\"pause\"}\n", count: 1000).utf8)
        // Until it takes no more, since its replies wait.
        var idle = 0
        while idle < 20 {
            guard let count = deaf.send(requests) else { break }
            idle = count == 0 ? idle + 1 : 0
            #expect(other.ask(#"{"do":"status"}"#)?["ok"] as? Bool == true)
        }
        let asked = scene.noting.verbs.withLock { $0.count }
        #expect(asked < 100_000)
        scene.end()
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func `clients that do anything at all hold up nobody`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let scene = try Scene()
        let steady = try scene.client()
        steady.greet()
        var clients: [Peer] = []
        let texts = [
            "{\"do\":\"status\"}\n", "{\"do\":\"watch\",\"everyMilliseconds\":10}\n", "{\"do\"",
            "\n", "x", "}{\n", String(repeating: "y", count: 9000),
        ]
        for _ in 0..<400 {
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: clients.append(try scene.client())
            case 1 where !clients.isEmpty:
                clients.remove(at: Int.random(in: 0..<clients.count, using: &generator))
            case 2: clients.randomElement(using: &generator)?.closeSending()
            case 3:
                let bytes = (0..<50).map { _ in UInt8.random(in: 0...255, using: &generator) }
                clients.randomElement(using: &generator)?.send(bytes)
            case 4: _ = clients.randomElement(using: &generator)?.line(seconds: 0.001)
            default:
                let text = texts.randomElement(using: &generator) ?? ""
                clients.randomElement(using: &generator)?.send(text)
            }
            if clients.count > 12 { clients.removeFirst() }
            #expect(steady.ask(#"{"do":"status"}"#)?["ok"] as? Bool == true)
        }
        scene.end()
        #expect(steady.rest().last?["phase"] as? String == "ended")
    }

    // MARK: Real jobs

    @Test func `verbs that mean nothing are refused with a code of their own`() throws {
        let scratch = try Scratch()
        let source = try Disk.openSource(FilePath(try scratch.file("s", size: 1 << 20)))
        let target = try Disk.openTarget(
            FilePath(scratch.path("t")), for: source, options: TargetOptions(create: true))
        let job = try MirrorJob.full(from: source, to: target)
        let words = JobWords(activity: "full")
        let scene = try Scene(job: SteeredJob(job, words))
        let client = try scene.client()
        client.greet()
        #expect(client.ask(#"{"do":"complete"}"#)?["code"] as? String == "wrongKind")
        #expect(client.ask(#"{"do":"speed","bytesPerSecond":5}"#)?["speedLimit"] as? Int == 5)
        let status = client.ask(#"{"do":"speed","bytesPerSecond":null}"#)
        #expect(status?["ok"] as? Bool == true && status?["speedLimit"] == nil)
        #expect(client.ask(#"{"do":"pause"}"#)?["phase"] as? String == "paused")
        #expect(client.ask(#"{"do":"resume"}"#)?["phase"] as? String == "running")
        _ = job.runAndWait()
        for verb in ["pause", "resume", "cancel"] {
            let reply = client.ask(#"{"do":"\#(verb)","id":1}"#)
            #expect(reply?["code"] as? String == "wrongPhase")
            #expect(reply?["phase"] as? String == "ended" && reply?["id"] as? Int == 1)
            #expect(reply?["remedy"] != nil)
        }
        #expect((client.ask(#"{"do":"status"}"#)?["verbs"] as? [String])?.isEmpty == true)
    }
}
