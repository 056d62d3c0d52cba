/// Which part of a queue's owner a request belongs to. Each user of a queue chooses numbers of its
/// own; 255 is the `CompositeQueue`'s.
package struct QueueClient: RawRepresentable, Sendable, Equatable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The polls by which a `CompositeQueue` waits for its drivers.
    static let poll = QueueClient(rawValue: 255)
}

/// A token that says whose request it is: the client in the upper 8 bits, and below them a number
/// that the client gave, less than 2^56.
package struct ClientToken: Sendable, Equatable {
    package let client: QueueClient
    package let index: Int

    /// Precondition: `0 <= index < 2^56`.
    package init(_ client: QueueClient, _ index: Int) {
        precondition(index >> 56 == 0)
        self.client = client
        self.index = index
    }

    /// The parts of a token that was made of a `ClientToken`.
    package init(_ token: Token) {
        client = QueueClient(rawValue: UInt8(token >> 56))
        index = Int(token & (1 << 56 - 1))
    }

    package var token: Token { Token(client.rawValue) << 56 | Token(index) }
}
