internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// What has to be in a cluster beside the bytes that are about to be written to it.
struct ClusterFill {
    let position: ClusterPosition
    /// Where the cluster is in the file.
    let host: Int64
    /// Whether the cluster reads as zeros.
    let isFresh: Bool
}

extension TargetState {
    /// Where what is in a part of a cluster comes from.
    private enum Origin: Equatable {
        case zero, below
        case own(Int64)
        case compressed(Int64, Int)
    }

    /// Copies what these parts of a cluster have now.
    func fill(_ job: ClusterFill, parts: UInt32, _ entry: L2Entry) throws(StorageError) {
        let start = bytes(of: job.position).lowerBound
        guard geometry.hasSubclusters else {
            return try fill(job, start..<(start + geometry.clusterSize), entry)
        }
        var part: Int64 = 0
        while part < 32 {
            let count = Int64((~(parts >> UInt32(part))).trailingZeroBitCount)
            if count > 0 {
                let first = start + part << Int64(geometry.pieceBits)
                let last = start + min(32, part + count) << Int64(geometry.pieceBits)
                try fill(job, first..<last, entry)
            }
            part += max(1, count)
        }
    }

    /// Copies what a range has now, inside one cluster, but possibly beyond the end of the disk.
    func fill(
        _ job: ClusterFill, _ range: Range<Int64>, _ entry: L2Entry
    ) throws(StorageError) {
        let disk = bytes(of: job.position)
        let start = disk.lowerBound
        assert(job.host >= geometry.clusterSize, "the header would be overwritten")
        assert(
            range.lowerBound >= start && range.upperBound <= start + geometry.clusterSize,
            "what is filled is not in the cluster")
        var rest = range
        while !rest.isEmpty {
            let origin = origin(of: rest.lowerBound, entry)
            var end = rest.lowerBound
            repeat {
                end = min((end + 1).roundedUp(to: geometry.pieceSize), rest.upperBound)
            } while end < rest.upperBound && self.origin(of: end, entry) == origin
            let piece = rest.lowerBound..<end
            rest = end..<rest.upperBound
            if origin == .zero && job.isFresh { continue }
            var old = try read(piece.clamped(to: disk), origin, clusterStart: start)
            // The disk may end inside the cluster.
            old += [UInt8](repeating: 0, count: piece.count - old.count)
            if job.isFresh && !old.contains(where: { $0 != 0 }) { continue }
            try writer.file.write(old, at: job.host + piece.lowerBound - start)
        }
    }

    private func origin(of offset: Int64, _ entry: L2Entry) -> Origin {
        if case .compressed(let host, let length) = entry.state {
            return .compressed(host, length)
        }
        guard let (host, allocated, zero) = entry.state.parts else { return .zero }
        let part = parts(touching: offset..<(offset + 1))
        if zero & part != 0 { return .zero }
        if allocated & part != 0, let host { return .own(host) }
        return hasBacking ? .below : .zero
    }

    private func read(
        _ range: Range<Int64>, _ origin: Origin, clusterStart: Int64
    ) throws(StorageError) -> [UInt8] {
        guard !range.isEmpty else { return [] }
        switch origin {
        case .zero:
            return [UInt8](repeating: 0, count: range.count)
        case .own(let host):
            return try writer.file.readFilled(
                at: host + range.lowerBound - clusterStart, count: range.count)
        case .below:
            return try old().readBelow(at: range.lowerBound, count: range.count)
        case .compressed(let host, let length):
            let cluster = try old().decompress(at: clusterStart, host: host, length: length)
            let first = Int(range.lowerBound - clusterStart)
            return Array(cluster[first..<(first + range.count)])
        }
    }

    private func old() throws(StorageError) -> any OldContent {
        guard let content else {
            throw .image(
                ImageProblem(
                    .unsupported, writer.file.path,
                    "a part of a cluster can't be changed: its old content can't be read"))
        }
        return content
    }
}
