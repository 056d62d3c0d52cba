/// A stretch of one layer of a chain, all of one kind. It begins where it was asked for.
package struct LayerExtent: Sendable, Equatable {
    package enum Content: Sendable, Equatable {
        /// Says nothing: the layer below decides.
        case unallocated
        /// Reads as zeros, whatever is below.
        case zero
        /// Stored in one piece, from this offset of the layer's data on.
        case stored(host: Int64)
        /// A part of one compressed cluster, that begins `skip` bytes behind the cluster's start.
        case compressed(host: Int64, compressedLength: Int, skip: Int)
    }

    package let content: Content
    /// Bytes, at least one.
    package let length: Int64

    package init(content: Content, length: Int64) {
        self.content = content
        self.length = length
    }
}
