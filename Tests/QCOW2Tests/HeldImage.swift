import BlockStorage
import Synchronization
import SystemPackage

@testable import QCOW2

/// The file of an image that is only bytes in memory, and counts how much of it is read.
final class HeldImage: ImageFile {
    let path: FilePath = "held.qcow2"
    let isWritable = false
    private let bytes: [UInt8]
    private let read = Atomic<Int>(0)
    private let largest = Atomic<Int>(0)

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Bytes that were read in all.
    var bytesRead: Int { read.load(ordering: .relaxed) }
    /// The longest read that was asked for.
    var largestRead: Int { largest.load(ordering: .relaxed) }

    func length() throws(StorageError) -> Int64 { Int64(bytes.count) }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        largest.max(count, ordering: .relaxed)
        guard offset >= 0, count >= 0 else {
            throw .systemCall(call: "read", path: path, code: .invalidArgument, offset: offset)
        }
        let start = Int(min(offset, Int64(bytes.count)))
        let end = start + min(count, bytes.count - start)
        read.add(end - start, ordering: .relaxed)
        return Array(bytes[start..<end])
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        throw .systemCall(call: "write", path: path, code: .badFileDescriptor, offset: offset)
    }

    func sync() throws(StorageError) {}

    func resize(to length: Int64) throws(StorageError) {
        throw .systemCall(call: "ftruncate", path: path, code: .badFileDescriptor)
    }
}

/// A small image made by hand, so that every word of it can be chosen.
struct HandmadeImage {
    var header = Header()
    /// The L1 table, at the third cluster.
    var l1: [UInt64] = []
    /// What stands at which offset, beside the header and the L1 table.
    var words: [(offset: Int64, words: [UInt64])] = []
    var length: Int64

    /// The header, a refcount table that nobody reads, an L1 table, and room for `clusters` more.
    init(size: Int64 = 1 << 20, clusterBits: Int = 16, clusters: Int = 8, version: Int = 3) {
        header.version = version
        header.size = size
        header.clusterBits = clusterBits
        header.refcountTableOffset = header.clusterSize
        header.refcountTableClusters = 1
        header.l1Offset = 2 * header.clusterSize
        header.l1EntryCount = header.l1EntriesNeeded
        length = Int64(3 + clusters) * header.clusterSize
    }

    /// The offset of one of the clusters behind the tables.
    func cluster(_ index: Int) -> Int64 { Int64(3 + index) * header.clusterSize }

    func bytes() throws -> [UInt8] {
        var bytes = try header.encoded(for: "held.qcow2")
        bytes += [UInt8](repeating: 0, count: max(0, Int(length) - bytes.count))
        for (offset, words) in words + [(header.l1Offset, l1)] where !words.isEmpty {
            bytes.replaceSubrange(
                Int(offset)..<(Int(offset) + 8 * words.count), with: words.bigEndianBytes())
        }
        return Array(bytes[..<Int(length)])
    }

    func layer() throws -> Layer {
        let file = HeldImage(try bytes())
        return try Layer(try Header.read(from: file), file: file)
    }
}
