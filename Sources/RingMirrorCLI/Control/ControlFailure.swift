import RingMirror

/// Why a request was not carried out. A contract; see docs/control-socket.md.
enum ControlCode: String, CaseIterable {
    /// The line is no request, or a field of it is wrong.
    case badRequest
    /// There is no such request.
    case unknownRequest
    case lineTooLong
    /// The request means nothing where the job is now.
    case wrongPhase
    /// The request means nothing to jobs of this kind.
    case wrongKind
    /// It was asked for before, and can't be asked for twice.
    case askedBefore
    case tooManyClients
    /// The client belongs to another user.
    case otherUser
}

/// A request that was not carried out.
struct ControlFailure: Error, Equatable {
    let code: ControlCode
    let problem: String
    var remedy: String?
    /// Of the request.
    var id: ControlID?

    init(_ code: ControlCode, _ problem: String, remedy: String? = nil, id: ControlID? = nil) {
        self.code = code
        self.problem = problem
        self.remedy = remedy
        self.id = id
    }

    init(_ error: JobVerbError, id: ControlID?) {
        let code: ControlCode =
            error.isRepeated ? .askedBefore : error.kind == nil ? .wrongPhase : .wrongKind
        self.init(code, "\(error)", remedy: Self.remedy(code), id: id)
    }

    private static func remedy(_ code: ControlCode) -> String? {
        switch code {
        case .wrongPhase, .wrongKind: "`verbs` of the status lists what can be asked for now."
        case .askedBefore: "Wait for it, or cancel the job."
        default: nil
        }
    }

    /// The same as the reply to a request that has an `id`.
    func answering(_ id: ControlID?) -> ControlFailure {
        ControlFailure(code, problem, remedy: remedy, id: id)
    }
}
