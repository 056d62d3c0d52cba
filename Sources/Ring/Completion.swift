/// What a request is known by between submission and completion. The owner of a queue chooses it;
/// the queue hands it back unchanged, also when the request failed.
public typealias Token = UInt64

/// The end of one request: its token, always, and what the kernel said of it.
public struct Completion: Sendable, Equatable {
    /// What the request was enqueued with.
    public let token: Token
    /// A count of bytes, or a negated errno. Turning it into an error is the owner's job, because
    /// only the owner knows what the token stood for.
    public let result: Int32

    /// For queues that aren't the kernel's.
    public init(token: Token, result: Int32) {
        self.token = token
        self.result = result
    }
}
