internal import BlockStorage
internal import DirtyBitmap

/// What reads as zeros because the tables say so.
extension TargetState {
    /// Whether all of a range is known to be zeros without a look at its bytes.
    mutating func readsAsZero(_ range: Range<Int64>) throws(StorageError) -> Bool {
        var rest = range
        while !rest.isEmpty {
            let table = geometry.l1Index(of: rest.lowerBound)
            let tableEnd = Int64(table + 1) << Int64(geometry.coverageBits)
            let end = min(tableEnd, rest.upperBound)
            if l1[table] == .none && tables[table] == nil {
                if hasBacking { return false }
            } else {
                try load(table)
                guard try isZero(table, rest.lowerBound..<end) else { return false }
            }
            rest = end..<rest.upperBound
        }
        return true
    }

    private func isZero(_ table: Int, _ range: Range<Int64>) throws(StorageError) -> Bool {
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            let index = geometry.l2Index(of: piece.lowerBound)
            guard tables[table]?.pending[index] == nil,
                isZero(try entry(table, index).state, parts(touching: piece))
            else { return false }
            rest = piece.upperBound..<rest.upperBound
        }
        return true
    }

    private func isZero(_ state: ClusterState, _ parts: UInt32) -> Bool {
        guard let (_, allocated, zero) = state.parts else { return false }
        let isZero = hasBacking ? zero : ~allocated
        return parts & ~isZero == 0
    }

    /// Has the tables say that a range is zeros, from its start on, as far as they can.
    ///
    /// - Returns: how many bytes.
    mutating func zero(_ range: Range<Int64>) throws(StorageError) -> Int64 {
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            let end = piece.upperBound
            let mask = geometry.pieceSize - 1
            // The disk may end inside a cluster, of which nobody sees the rest.
            let last = end == size ? end : end.roundedDown(to: geometry.pieceSize)
            guard piece.lowerBound & mask == 0, piece.lowerBound < last else { break }
            guard try zeroCluster(piece.lowerBound..<last) else { break }
            rest = last..<rest.upperBound
            if last < end { break }
        }
        return rest.lowerBound - range.lowerBound
    }

    /// - Returns: whether the tables can say it.
    private mutating func zeroCluster(_ range: Range<Int64>) throws(StorageError) -> Bool {
        let table = geometry.l1Index(of: range.lowerBound)
        let index = geometry.l2Index(of: range.lowerBound)
        try load(table)
        let old = try entry(table, index)
        let pending = tables[table]?.pending[index]
        let touched = parts(touching: range)
        if pending == nil && isZero(old.state, touched) { return true }
        let covered = range.upperBound == size ? touched | ~(touched &- 1) : touched
        guard covered == .max else { return try zeroParts(table, index, covered, old) }
        guard geometry.knowsZeroClusters || !hasBacking else { return false }
        try reserve(table)
        tables[table]?.pending[index] = nil
        // A cluster of its own is kept for what may come later; bytes may still be on their way to
        // one that waits for them.
        let kept = pending?.host ?? (old.isCopied ? old.state.parts?.host : nil)
        if geometry.knowsZeroClusters {
            set(table, index, L2Entry(.zero(host: kept), isCopied: kept != nil))
            if kept == nil || kept != old.state.parts?.host { drop(old.state) }
        } else {
            set(table, index, L2Entry(.unallocated))
            drop(old.state)
            if let pending, pending.isNew { drop(.data(host: pending.host)) }
        }
        return true
    }

    private mutating func zeroParts(
        _ table: Int, _ index: Int, _ covered: UInt32, _ old: L2Entry
    ) throws(StorageError) -> Bool {
        guard tables[table]?.pending[index] == nil,
            let (host, allocated, zero) = old.state.parts
        else { return false }
        try reserve(table)
        let left = allocated & ~covered
        let kept = left != 0 || old.isCopied ? host : nil
        let state = ClusterState(host: kept, allocated: left, zero: zero | covered)
        set(table, index, L2Entry(state, isCopied: old.isCopied))
        if kept == nil { drop(old.state) }
        return true
    }
}
