import ArgumentParser
import RingMirror

/// A job that runs in another process, found by its control socket.
struct RunningJob {
    /// Of the process, as the name of the socket has it.
    let pid: Int32
    /// How the job is, or why that is not known.
    let status: Result<JobStatus, ControlClient.Failure>
    private let name: String
    private let directory: OpenDirectory

    /// How long jobs have to answer, in seconds. One that is stopped does not.
    private static let patience = 2.0

    /// All jobs that this user may steer, in the order of their processes. Sockets that killed
    /// processes have left are removed.
    static func all() -> [RunningJob] {
        // All are asked at once, so that those that don't answer take the time of one.
        let end = Clock.now + patience
        return ControlDirectory.all().flatMap { directory in
            directory.names.compactMap { name in ask(name, directory) }
        }.map { $0.finish(end) }.filter(\.isThere).sorted { $0.pid < $1.pid }
    }

    /// A job that was asked how it is.
    private struct Asked {
        let pid: Int32
        let name: String
        let directory: OpenDirectory
        let client: Result<ControlClient, ControlClient.Failure>

        func finish(_ end: Double) -> RunningJob {
            let status = client.flatMap { client in
                Result { () throws(ControlClient.Failure) in
                    var client = client
                    guard case .status(let status) = try client.answer(by: end) else {
                        throw .silent
                    }
                    return status
                }
            }
            return RunningJob(pid: pid, status: status, name: name, directory: directory)
        }
    }

    private static func ask(_ name: String, _ directory: OpenDirectory) -> Asked? {
        guard let pid = ControlDirectory.pid(of: name), let socket = directory.socket(name)
        else { return nil }
        do throws(ControlClient.Failure) {
            let client = try ControlClient(name, in: directory)
            try client.send(ControlRequest(.status))
            return Asked(pid: pid, name: name, directory: directory, client: .success(client))
        } catch .gone {
            // Not the one of a later process with the same number.
            if directory.socket(name) == socket { directory.remove(name) }
            return nil
        } catch {
            return Asked(pid: pid, name: name, directory: directory, client: .failure(error))
        }
    }

    /// Whether it has not ended while it was asked.
    private var isThere: Bool {
        switch status {
        case .success(let status): status.phase != "\(JobPhase.ended)"
        case .failure(.gone): false
        case .failure: true
        }
    }

    /// Asks the job for something, and gives how it is then.
    func ask(_ request: ControlRequest) throws(RequestFailure) -> JobStatus {
        let answer: ControlClient.Answer
        do throws(ControlClient.Failure) {
            var client = try ControlClient(name, in: directory)
            try client.send(request)
            answer = try client.answer(by: Clock.now + Self.patience)
        } catch {
            throw .unanswered(error)
        }
        switch answer {
        case .status(let status): return status
        case .refusal(let refusal): throw .refused(refusal)
        }
    }

    /// What a job is called in a sentence, such as `12 (full to /dev/sdb)`.
    var title: String {
        guard case .success(let status) = status else { return "\(pid)" }
        return "\(pid) (\(JobText.what(status)))"
    }
}

/// Why a job did not do what it was asked for.
enum RequestFailure: Error {
    case refused(ControlReply.Refusal)
    case unanswered(ControlClient.Failure)
}
