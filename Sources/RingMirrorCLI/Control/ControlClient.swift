import FoundationEssentials
import SystemPackage

/// A connection to a job of another process. It never waits longer than it is told.
struct ControlClient {
    enum Failure: Error, CustomStringConvertible {
        /// Nothing listens there any more: the job is over, or its process was killed.
        case gone
        /// The other end belongs to another user than the directory that it is in.
        case otherUser
        /// There was no answer in time.
        case silent
        /// What came is nothing that a job sends.
        case foreign
        /// The job speaks another version of the protocol.
        case otherVersion(Int)
        case system(Errno)

        var description: String {
            switch self {
            case .gone: "it has ended"
            case .otherUser: "its socket belongs to another user"
            case .silent: "it does not answer"
            case .foreign: "what answers is no job"
            case .otherVersion(let version):
                "it is of another version of ringmirror (protocol \(version), not "
                    + "\(ControlReply.version))"
            case .system(let code): "\(code)"
            }
        }
    }

    enum Answer {
        case status(JobStatus)
        case refusal(ControlReply.Refusal)
    }

    private let socket: UnixSocket
    private var lines = ControlLines()
    private var isGreeted = false

    /// Connects to the socket of a name.
    init(_ name: String, in directory: OpenDirectory) throws(Failure) {
        do throws(Errno) {
            socket = try ControlListener.connect(name, in: directory)
        } catch {
            switch error {
            case .connectionRefused, .noSuchFileOrDirectory: throw .gone
            // All places for clients that wait are taken.
            case .wouldBlock, .resourceTemporarilyUnavailable: throw .silent
            default: throw .system(error)
            }
        }
        // A link could lead root to a socket of something else.
        guard socket.peer == directory.owner else { throw .otherUser }
    }

    /// Sends a request, without waiting for the answer.
    func send(_ request: ControlRequest) throws(Failure) {
        let bytes = request.line[...]
        guard let count = socket.send(bytes) else { throw .gone }
        guard count == bytes.count else { throw .silent }
    }

    /// The answer to a request that was sent.
    ///
    /// - Parameter time: when it has to be there, on `Clock`.
    mutating func answer(by time: Double) throws(Failure) -> Answer {
        if !isGreeted { try greet(by: time) }
        return try answer(from: line(by: time))
    }

    private mutating func greet(by time: Double) throws(Failure) {
        let bytes = try line(by: time)
        guard
            let greeting = try? JSONDecoder().decode(
                ControlReply.Greeting.self, from: Data(bytes))
        else { throw .foreign }
        guard greeting.protocol == ControlReply.version else {
            throw .otherVersion(greeting.protocol)
        }
        isGreeted = true
    }

    private func answer(from bytes: [UInt8]) throws(Failure) -> Answer {
        let data = Data(bytes)
        if let refusal = try? JSONDecoder().decode(ControlReply.Refusal.self, from: data),
            !refusal.ok
        {
            return .refusal(refusal)
        }
        guard let status = try? JSONDecoder().decode(JobStatus.self, from: data) else {
            throw .foreign
        }
        return .status(status)
    }

    private mutating func line(by time: Double) throws(Failure) -> [UInt8] {
        while true {
            switch lines.next() {
            case .line(let bytes): return bytes
            case .tooLong: throw .foreign
            case nil: break
            }
            switch socket.receive() {
            case .bytes(let bytes): lines.append(bytes)
            case .end, .broken: throw .gone
            case .nothing:
                let left = time - Clock.now
                guard left > 0 else { throw .silent }
                var wait = SocketWait()
                wait.add(socket, reading: true)
                wait.wait(milliseconds: Int((left * 1000).rounded(.up)))
            }
        }
    }
}
