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
        if let bits = self.excused?.copy() { undecided.subtract(sameSize: bits) }
    }

    /// Whether some need not be the same.
    var excusesSome: Bool { excused != nil }

    /// How many bytes need not be the same.
    var excusedBytes: Int64 {
        switch excused {
        case .some(let bits): bits.dirtyBytes
        case nil: 0
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
        var written = second.copy()
        if excused == nil { written.merge(sameSize: first) }
        excused?.merge(sameSize: first)
        undecided = differing.copy()
        var settled = differing.copy()
        settled.subtract(sameSize: written)
        undecided.merge(sameSize: written)
        if let excused = excused?.copy() {
            settled.subtract(sameSize: excused)
            undecided.subtract(sameSize: excused)
        }
        return isSteady(settled) ? .different : undecided.isClean ? .done : .again
    }

    /// All that was undecided was done, and something was written since.
    mutating func goOn(with written: consuming DirtyBitmap) { undecided = written }

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
