import Logging
import RingMirror
import Synchronization

/// Serves all clients of a job's control socket on one thread, from the beginning of the job to its
/// end. No client can make it wait.
final class ControlServer: Sendable {
    static let clientsMax = 16
    /// A client that has been silent for so long makes room for another one.
    private static let patience = 30.0
    /// The rate of the job comes from looks that are about so far apart.
    private static let secondsBetweenLooks = 1.0

    private let listener: ControlListener
    private let job: SteeredJob
    private let user: UInt32
    private let hasEnded = Atomic<Bool>(false)
    private let thread = Mutex<PlainThread?>(nil)

    /// Begins to serve. Nil if there is no place for the socket or no thread: the job does without.
    convenience init?(_ job: SteeredJob, _ logger: Logger) {
        do throws(ControlDirectory.Refusal) {
            try self.init(job, ControlListener())
        } catch {
            logger.info("there is no control socket: \(error)")
            return nil
        }
        logger.debug("the control socket is \(listener.path)")
    }

    /// - Parameter user: whose clients are served, besides those of root.
    init(
        _ job: SteeredJob, _ listener: ControlListener, user: UInt32 = Environment.user
    ) throws(ControlDirectory.Refusal) {
        self.job = job
        self.listener = listener
        self.user = user
        guard let thread = PlainThread({ [self] in serve() }) else {
            listener.remove()
            throw ControlDirectory.Refusal(description: "no thread can be made")
        }
        self.thread.withLock { $0 = thread }
    }

    /// To be called when the job has ended: tells all clients so, and lets them go. Once.
    func end() {
        // Nobody finds the socket any more before those who have hear of the end.
        listener.remove()
        hasEnded.store(true, ordering: .releasing)
        listener.socket.stopListening()
        thread.withLock { $0.take() }?.join()
    }

    private func serve() {
        var round = Round()
        while !hasEnded.load(ordering: .acquiring) {
            if round.hasCaller(listener, job) { admit(&round) }
        }
        // Whoever has connected by now hears of the end as well.
        admit(&round)
        for client in round.clients { client.end(job, at: Clock.now) }
    }

    /// Takes the clients that wait.
    private func admit(_ round: inout Round) {
        let now = Clock.now
        var count = 0
        while count < Self.clientsMax, let socket = listener.socket.accept() {
            count += 1
            let client = ControlConnection(socket, at: now)
            guard let peer = socket.peer, peer == user || peer == 0 else {
                client.refuse(
                    ControlFailure(.otherUser, "the job belongs to another user"))
                continue
            }
            if round.clients.count >= Self.clientsMax { round.dismissSilent(now - Self.patience) }
            guard round.clients.count < Self.clientsMax else {
                client.refuse(
                    ControlFailure(
                        .tooManyClients, "\(Self.clientsMax) clients are connected",
                        remedy: "Close one of them."))
                continue
            }
            round.clients.append(client)
        }
        // Without a descriptor for it, a client would be announced again at once.
        if count == 0 { round.restsUntil = now + 0.1 }
    }

    /// One wait for all clients after another.
    private struct Round {
        var clients: [ControlConnection] = []
        /// No clients are taken until then, in seconds.
        var restsUntil = 0.0
        /// When the job is looked at next.
        private var lookAt = 0.0

        /// Serves all clients once, as soon as there is something to do. Returns whether somebody
        /// wants to become one.
        mutating func hasCaller(_ listener: ControlListener, _ job: SteeredJob) -> Bool {
            let now = Clock.now
            if now >= lookAt {
                _ = job.status()
                lookAt = now + ControlServer.secondsBetweenLooks
            }
            var wait = SocketWait()
            for client in clients {
                wait.add(
                    client.socket, reading: client.wantsToRead, writing: client.wantsToWrite)
            }
            let listens = now >= restsUntil
            if listens { wait.add(listener.socket, reading: true) }
            wait.wait(milliseconds: milliseconds(from: now))
            let later = Clock.now
            for (index, client) in clients.enumerated() {
                if wait.isReady(index) { client.receive(at: later) }
                if wait.isClosed(index) { client.close() }
                client.flush()
                client.serve(job, at: later)
                client.tell(job, at: later)
            }
            let hasCaller = listens && wait.isReady(clients.count)
            clients.removeAll(where: \.isDone)
            return hasCaller
        }

        /// Until the next thing is due.
        private func milliseconds(from now: Double) -> Int {
            // A client that asks without a pause gets its replies, and not the whole processor.
            if clients.contains(where: \.canBeServed) { return 1 }
            var due = lookAt
            if now < restsUntil { due = min(due, restsUntil) }
            for time in clients.compactMap(\.dueAt) { due = min(due, time) }
            return Int((max(due - now, 0) * 1000).rounded(.up))
        }

        /// Lets the client go that has been silent since a moment or longer, if there is one.
        mutating func dismissSilent(_ time: Double) {
            let silent = clients.indices.filter {
                !clients[$0].isWatching && clients[$0].heardAt <= time
            }
            guard let longest = silent.min(by: { clients[$0].heardAt < clients[$1].heardAt })
            else { return }
            clients.remove(at: longest)
        }
    }
}
