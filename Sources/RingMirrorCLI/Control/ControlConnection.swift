import RingMirror

/// One client of a job's control socket. Nothing here waits for it, and nothing of it grows without
/// a bound: a client that reads too slowly gets fewer lines of a watch, and its requests are not
/// read until it has taken the replies.
final class ControlConnection {
    /// Replies that may wait for the client.
    private static let waitingMax = 128 << 10
    /// Requests of a client before the others have their turn.
    private static let requestsAtOnce = 4

    let socket: UnixSocket
    /// When the client last sent anything, in seconds.
    private(set) var heardAt: Double
    private var lines = ControlLines()
    private var waiting: ArraySlice<UInt8> = []
    private var watch: Watch?
    private var isOver = false
    private var isBroken = false
    /// There may be whole requests that were not looked at yet.
    private var hasRequests = false

    private struct Watch {
        let seconds: Double
        let id: ControlID?
        var dueAt: Double
    }

    init(_ socket: UnixSocket, at now: Double) {
        self.socket = socket
        heardAt = now
        send(ControlReply.Greeting())
    }

    /// Whether there is nothing more to do for the client.
    var isDone: Bool { isBroken || (isOver && !hasRequests && waiting.isEmpty && watch == nil) }
    var isWatching: Bool { watch != nil }
    var canBeServed: Bool { hasRequests && waiting.count < Self.waitingMax }
    var wantsToWrite: Bool { !waiting.isEmpty && !isBroken }
    var wantsToRead: Bool { !isOver && lines.hasRoom && waiting.count < Self.waitingMax }
    /// When the next line of the watch is due, in seconds; nil: there is no watch.
    var dueAt: Double? { watch?.dueAt }

    // MARK: What comes

    /// Takes what has come.
    func receive(at now: Double) {
        guard wantsToRead else { return }
        switch socket.receive() {
        case .bytes(let bytes):
            heardAt = now
            lines.append(bytes)
            hasRequests = true
        case .nothing: break
        // It may still want the replies to what it has sent.
        case .end: isOver = true
        case .broken: isBroken = true
        }
    }

    /// The other end is gone, and what it has sent is all that will come.
    func close() { if !wantsToRead { isBroken = true } }

    /// Carries out some of the requests that are there.
    func serve(_ job: SteeredJob, at now: Double) {
        var left = Self.requestsAtOnce
        while left > 0, canBeServed {
            guard let line = lines.next() else {
                hasRequests = false
                return
            }
            left -= 1
            serve(line, job, at: now)
        }
    }

    private func serve(_ line: ControlLines.Line, _ job: SteeredJob, at now: Double) {
        do throws(ControlFailure) {
            guard case .line(let bytes) = line else {
                throw ControlFailure(
                    .lineTooLong, "the line has more than \(ControlLines.lengthMax) bytes")
            }
            let request = try ControlRequest(line: bytes)
            switch request.action {
            case .status: break
            case .watch(let milliseconds):
                let seconds = Double(milliseconds) / 1000
                watch = Watch(seconds: seconds, id: request.id, dueAt: now + seconds)
            case .verb(let verb):
                do throws(JobVerbError) { try job.apply(verb) } catch {
                    let failure = ControlFailure(error, id: request.id)
                    return send(ControlReply.Refusal(failure, phase: "\(error.phase)"))
                }
            }
            send(ControlReply.Success(status: job.status(), id: request.id))
        } catch {
            send(ControlReply.Refusal(error, phase: job.status().phase))
        }
    }

    // MARK: What goes

    /// Says how the job is, if the client watches it and it is time.
    func tell(_ job: SteeredJob, at now: Double) {
        guard let watch, watch.dueAt <= now else { return }
        self.watch?.dueAt = now + watch.seconds
        // It has not taken the last line.
        guard waiting.isEmpty else { return }
        send(ControlReply.Success(status: job.status(), id: watch.id))
    }

    /// Says that the client is refused, as the last thing.
    func refuse(_ failure: ControlFailure) {
        send(ControlReply.Refusal(failure, phase: nil))
    }

    /// Says how the job has ended, after the replies to all that had come by then.
    func end(_ job: SteeredJob, at now: Double) {
        receive(at: now)
        while canBeServed { serve(job, at: now) }
        send(ControlReply.Success(status: job.status(), id: watch?.id))
    }

    private func send(_ reply: some Encodable) {
        waiting += ControlReply.line(reply)
        flush()
    }

    /// Sends what the client takes now.
    func flush() {
        guard wantsToWrite else { return }
        guard let count = socket.send(waiting) else {
            isBroken = true
            return
        }
        waiting = waiting.dropFirst(count)
        if waiting.isEmpty { waiting = [] }
    }
}
