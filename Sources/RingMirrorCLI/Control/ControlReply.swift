import FoundationEssentials

/// The lines that a job sends. The fields are a contract, docs/control-socket.md.
enum ControlReply {
    /// The version of the protocol. It grows when a field or a request changes its meaning or goes.
    static let version = 1

    /// The first line of every connection.
    struct Greeting: Codable {
        var ringmirror = RingMirrorCommand.version
        var `protocol` = ControlReply.version
    }

    /// The request was carried out, and this is how the job is now.
    struct Success: Encodable {
        let status: JobStatus
        let id: ControlID?

        private enum CodingKeys: String, CodingKey { case ok, id }

        func encode(to encoder: any Encoder) throws {
            try status.encode(to: encoder)
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(true, forKey: .ok)
            try fields.encodeIfPresent(id, forKey: .id)
        }
    }

    /// The request was not carried out.
    struct Refusal: Codable {
        var ok = false
        let code: String
        let error: String
        let remedy: String?
        let id: ControlID?
        /// Where the job is.
        let phase: String?

        init(_ failure: ControlFailure, phase: String?) {
            code = failure.code.rawValue
            error = VisibleText.line(failure.problem)
            remedy = failure.remedy
            id = failure.id
            self.phase = phase
        }
    }

    /// A line with its end.
    static func line(_ reply: some Encodable) -> [UInt8] {
        Array(Events.line(reply).text.utf8) + [UInt8(ascii: "\n")]
    }
}
