/// Memory outside a slab, for what a thread has to take apart before it goes there.
package struct ScratchMemory: Sendable {
    private var bytes: [UInt8] = []

    /// Empty until it is first needed.
    package init() {}

    /// Lends `count` bytes, with whatever was in them before.
    package mutating func withBytes<Result>(
        _ count: Int, _ body: (inout MutableRawSpan) -> Result
    ) -> Result {
        if bytes.count != count { bytes = Array(repeating: 0, count: count) }
        var span = bytes.mutableSpan
        // Every value of a byte is a byte.
        var raw = unsafe span.mutableBytes
        return body(&raw)
    }
}

extension MutableRawSpan {
    /// Overwrites all of these bytes with others.
    ///
    /// Precondition: there are as many, and they don't overlap.
    package mutating func copy(_ bytes: borrowing RawSpan) {
        precondition(bytes.byteCount == byteCount)
        unsafe bytes.withUnsafeBytes { source in
            unsafe withUnsafeMutableBytes { unsafe $0.copyMemory(from: source) }
        }
    }
}
