internal import BlockStorage
internal import DirtyBitmap

/// What reads as zeros because the tables say so.
extension TargetState {
    /// Whether all of a range is known to be zeros without a look at its bytes.
    mutating func readsAsZero(_ range: Range<Int64>) throws(StorageError) -> Bool {
        var rest = range
        while !rest.isEmpty {
            let table = geometry.l1Index(of: rest.lowerBound)
            let end = min(geometry.start(ofTable: table + 1), rest.upperBound)
            if l1[table] == .none && !tables.contains(table) {
                if hasBacking { return false }
            } else {
                try load(table)
                guard try isZero(inTable: rest.lowerBound..<end) else { return false }
            }
            rest = end..<rest.upperBound
        }
        return true
    }

    /// Precondition: the range is in one table, which is in memory.
    private func isZero(inTable range: Range<Int64>) throws(StorageError) -> Bool {
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            let position = geometry.position(of: piece.lowerBound)
            guard pending(at: position) == nil,
                isZero(try entry(at: position).state, parts(touching: piece))
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
        let position = geometry.position(of: range.lowerBound)
        try load(position.table)
        let old = try entry(at: position)
        let pending = pending(at: position)
        let touched = parts(touching: range)
        if pending == nil && isZero(old.state, touched) { return true }
        let covered = range.upperBound == size ? touched | ~(touched &- 1) : touched
        guard covered == .max else { return try zeroParts(position, covered, old) }
        guard geometry.knowsZeroClusters || !hasBacking else { return false }
        try reserve(position.table)
        tables[position.table].pending[position.index] = nil
        // A cluster of its own is kept for what may come later; bytes may still be on their way to
        // one that waits for them.
        let kept = pending?.host ?? (old.isCopied ? old.state.parts?.host : nil)
        if geometry.knowsZeroClusters {
            set(position, to: L2Entry(.zero(host: kept), isCopied: kept != nil))
            if kept == nil || kept != old.state.parts?.host { drop(old.state) }
        } else {
            set(position, to: L2Entry(.unallocated))
            drop(old.state)
            if let pending, pending.isNew { drop(.data(host: pending.host)) }
        }
        checkInvariants(ofTable: position.table)
        return true
    }

    private mutating func zeroParts(
        _ position: ClusterPosition, _ covered: UInt32, _ old: L2Entry
    ) throws(StorageError) -> Bool {
        guard pending(at: position) == nil,
            let (host, allocated, zero) = old.state.parts
        else { return false }
        try reserve(position.table)
        let left = allocated & ~covered
        let kept = left != 0 || old.isCopied ? host : nil
        let state = ClusterState(host: kept, allocated: left, zero: zero | covered)
        set(position, to: L2Entry(state, isCopied: old.isCopied))
        if kept == nil { drop(old.state) }
        checkInvariants(ofTable: position.table)
        return true
    }
}
