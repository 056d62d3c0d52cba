internal import DirtyBitmap

/// Which parts of two disks that are written are known to be the same, pass after pass.
struct LivePasses: ~Copyable {
    /// What follows on a pass.
    enum Next: Equatable {
        /// Another pass, over what is undecided.
        case again
        /// Nothing is undecided any more.
        case done
        /// The same difference was found again and again where nothing was written.
        case different
    }

    /// What has to be compared, or compared again.
    private(set) var undecided: DirtyBitmap
    private(set) var count = 0
    /// What need not be the same; nil: all has to be.
    private var excused: DirtyBitmap?
    /// What differed in each of the last passes, where nothing was written in any of them.
    private var steady: DirtyBitmap
    private var steadyCount = 0

    /// So many passes have to find the same difference: what follows one of the disks, such as a
    /// live mirror, may be some passes behind.
    private static var steadyCountMax: Int { 4 }

    /// - Parameter excused: is of the same size and granularity as all bitmaps here.
    init(all: consuming DirtyBitmap, excused: consuming DirtyBitmap?) {
        steady = DirtyBitmap(size: all.size, granularity: all.granularity)
        undecided = all
        self.excused = excused
        undecided = unexcused(undecided)
    }

    /// How many bytes need not be the same; nil: all have to be.
    var excusedBytes: Int64? {
        switch excused {
        case .some(let bits): bits.dirtyBytes
        case nil: nil
        }
    }

    /// A pass has ended.
    ///
    /// - Parameters:
    ///   - differing: where both sides differ, of what was undecided.
    ///   - first: what was written to the first disk since the last pass ended, or more.
    ///   - second: the same of the second disk.
    mutating func note(
        differing: borrowing DirtyBitmap, first: borrowing DirtyBitmap,
        second: borrowing DirtyBitmap
    ) -> Next {
        count += 1
        let written = excuse(first, second)
        undecided = unexcused(differing)
        var settled = undecided.copy()
        settled.subtract(sameSize: written)
        undecided.merge(sameSize: written)
        return isSteady(settled) ? .different : undecided.isClean ? .done : .again
    }

    /// All that was undecided was done, and this was written since.
    mutating func goOn(first: borrowing DirtyBitmap, second: borrowing DirtyBitmap) {
        undecided = excuse(first, second)
    }

    /// What was written and has to be compared again: where a bitmap gets what is written to the
    /// first disk, that need not.
    private mutating func excuse(
        _ first: borrowing DirtyBitmap, _ second: borrowing DirtyBitmap
    ) -> DirtyBitmap {
        var written = second.copy()
        if excused == nil { written.merge(sameSize: first) }
        excused?.merge(sameSize: first)
        return unexcused(written)
    }

    private func unexcused(_ bits: borrowing DirtyBitmap) -> DirtyBitmap {
        var rest = bits.copy()
        if let excused = excused?.copy() { rest.subtract(sameSize: excused) }
        return rest
    }

    private mutating func isSteady(_ settled: borrowing DirtyBitmap) -> Bool {
        // What of the old one is not in the new one goes.
        var gone = steady.copy()
        gone.subtract(sameSize: settled)
        steady.subtract(sameSize: gone)
        if steady.isClean {
            steady = settled.copy()
            steadyCount = 0
        }
        if !steady.isClean { steadyCount += 1 }
        return steadyCount >= Self.steadyCountMax
    }
}
