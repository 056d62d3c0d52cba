/// One of a worker's or a comparer's slots.
package struct SlotIndex: Sendable, Hashable {
    let rawValue: Int

    init(_ rawValue: Int) { self.rawValue = rawValue }
}

/// One of a `RunReader`'s readings.
package struct ReadingIndex: Sendable, Hashable {
    let rawValue: Int

    package init(_ rawValue: Int) { self.rawValue = rawValue }
}

/// One of the buffers for compressed bytes.
package struct CompressedIndex: Sendable, Hashable {
    let rawValue: Int

    package init(_ rawValue: Int) { self.rawValue = rawValue }
}

/// A place in a transfer queue, of a transfer that waits for an answer.
package struct TransferIndex: Sendable, Hashable {
    let rawValue: Int

    init(_ rawValue: Int) { self.rawValue = rawValue }
}
