/// Where a page of bits, or a table of references to pages, is.
///
/// Two offsets that no block can have stand for content that takes no block: everything below is
/// clean, or everything that exists below is dirty.
struct Reference: Hashable, Sendable {
    /// Bytes from the start of the file; 0: clean, 1: dirty.
    let offset: UInt64
    /// XXH64 of the block; 0 where there is none.
    let checksum: UInt64

    static let clean = Reference(offset: 0, checksum: 0)
    static let dirty = Reference(offset: 1, checksum: 0)

    /// Whether there is a block.
    var isStored: Bool { offset > 1 }

    static let byteCount = 16
}

/// The one size of everything in the file, in bytes.
let blockBytes = 4096
