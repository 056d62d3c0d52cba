import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport

@testable import QCOW2

/// What the tests of bitmaps share.
enum BitmapRig {
    /// A writer of metadata that is as simple as can be: refcounts of 16 bits, first fit, no cache.
    final class Writer: MetadataWriter, @unchecked Sendable {
        let file: any ImageFile
        private(set) var header: Header

        init(_ file: any ImageFile) throws {
            self.file = file
            header = try Header.read(from: file)
            precondition(header.refcountOrder == 4, "only refcounts of 16 bits")
        }

        func refcount(_ cluster: Int64) throws(StorageError) -> UInt16 {
            guard let offset = try place(cluster) else { return 0 }
            let bytes = try file.read(at: offset, count: 2)
            return bytes.count == 2 ? bytes.bigEndian16(at: 0) : 0
        }

        private func tablePlace(_ cluster: Int64) -> Int64 {
            header.refcountTableOffset + cluster / header.refcountsPerBlock * 8
        }

        private func place(_ cluster: Int64) throws(StorageError) -> Int64? {
            let tableEnd =
                header.refcountTableOffset
                + Int64(header.refcountTableClusters) * header.clusterSize
            guard tablePlace(cluster) < tableEnd else { return nil }
            let block = try file.read(at: tablePlace(cluster), count: 8).bigEndian64(at: 0)
            return block == 0 ? nil : Int64(block) + cluster % header.refcountsPerBlock * 2
        }

        private func set(_ cluster: Int64, _ value: UInt16) throws(StorageError) {
            if try place(cluster) == nil { try addBlock(cluster) }
            guard let offset = try place(cluster) else {
                throw .image(ImageProblem(.full, file.path, "the refcount table is full"))
            }
            var bytes: [UInt8] = [0, 0]
            bytes.put(value, at: 0)
            try file.write(bytes, at: offset)
        }

        /// The block is the first cluster of those that it counts.
        private func addBlock(_ cluster: Int64) throws(StorageError) {
            let first = cluster / header.refcountsPerBlock * header.refcountsPerBlock
            var block = [UInt8](repeating: 0, count: Int(header.clusterSize))
            block.put(UInt16(1), at: 0)
            try file.write(block, at: first * header.clusterSize)
            try file.sync()
            var entry = [UInt8](repeating: 0, count: 8)
            entry.put(UInt64(first * header.clusterSize), at: 0)
            try file.write(entry, at: tablePlace(cluster))
            try file.sync()
        }

        func allocate(clusters: Int) throws(StorageError) -> Int64 {
            var start: Int64 = 1
            var count: Int64 = 0
            while count < Int64(clusters) {
                let next = start + count
                // A new block takes the first cluster of its range.
                let isTaken =
                    try place(next) == nil
                    ? next % header.refcountsPerBlock == 0 : try refcount(next) != 0
                if isTaken { (start, count) = (next + 1, 0) } else { count += 1 }
            }
            for cluster in start..<(start + count) { try set(cluster, 1) }
            let end = (start + count) * header.clusterSize
            if try file.length() < end { try file.resize(to: end) }
            try file.sync()
            return start * header.clusterSize
        }

        func free(offset: Int64, clusters: Int) throws(StorageError) {
            for cluster in 0..<Int64(clusters) {
                let number = offset / header.clusterSize + cluster
                let value = try refcount(number)
                guard value > 0 else {
                    throw .image(
                        ImageProblem(
                            .malformed, file.path, at: number * header.clusterSize,
                            "a free cluster was freed"))
                }
                try set(number, value - 1)
            }
        }

        func update(_ header: Header) throws(StorageError) {
            try file.sync()
            try file.write(header.encoded(for: file.path), at: 0)
            try file.sync()
            self.header = header
        }
    }

    /// An image in which nothing is allocated.
    static func image(clusterBits: Int, size: Int64) throws -> MemoryImage {
        var header = Header()
        header.clusterBits = clusterBits
        header.size = size
        header.l1EntryCount = header.l1EntriesNeeded
        let cluster = header.clusterSize
        header.refcountTableOffset = cluster
        header.refcountTableClusters = 1
        header.l1Offset = 3 * cluster
        let l1Clusters = (Int64(header.l1EntryCount) * 8 + cluster - 1) / cluster
        var content = try header.encoded(for: "/memory")
        content += [UInt8](repeating: 0, count: Int((2 + l1Clusters) * cluster))
        content.put(UInt64(2 * cluster), at: Int(cluster))
        for index in 0..<Int(3 + l1Clusters) {
            content.put(UInt16(1), at: Int(2 * cluster) + index * 2)
        }
        return MemoryImage(content)
    }

    /// What an image says about one bitmap.
    struct State: Equatable, CustomStringConvertible {
        var shift: Int
        var isRecording: Bool
        var isInconsistent = false
        /// Empty if it is inconsistent.
        var runs: [Range<Int64>] = []

        var description: String {
            "2^\(shift)\(isRecording ? " auto" : "")\(isInconsistent ? " in use" : "") \(runs)"
        }
    }

    typealias States = [String: State]

    static func states(_ file: any ImageFile) throws -> States {
        let bitmaps = ImageBitmaps(file, try Header.read(from: file))
        let list = try bitmaps.list()
        if let problem = list.problems.first { throw problem }
        var states: States = [:]
        for bitmap in list.bitmaps {
            var state = State(
                shift: bitmap.granularity.shift, isRecording: bitmap.isRecording,
                isInconsistent: bitmap.isInconsistent)
            if !bitmap.isInconsistent {
                let bits = try bitmaps.load(bitmap.name)
                state.runs = runs(bits)
                let isCounted =
                    bits.dirtyCount == bitmap.dirtyCount && bits.dirtyBytes == bitmap.dirtyBytes
                precondition(isCounted, "\(bitmap) was counted wrongly: \(state)")
            }
            states[bitmap.name] = state
        }
        return states
    }

    static func runs(_ bits: borrowing DirtyBitmap) -> [Range<Int64>] {
        var runs: [Range<Int64>] = []
        bits.forEachDirtyRun { runs.append($0) }
        return runs
    }

    static func bits(_ size: Int64, _ shift: Int, _ ranges: [Range<Int64>]) throws -> DirtyBitmap {
        var bits = DirtyBitmap(size: size, granularity: try Granularity(bytes: 1 << Int64(shift)))
        for range in ranges { bits.set(range) }
        return bits
    }

    /// Runs a change and gives the problem that it was refused with.
    static func problem(_ body: () throws -> Void) -> ImageProblem? {
        do { try body() } catch StorageError.image(let problem) { return problem } catch {}
        return nil
    }
}
