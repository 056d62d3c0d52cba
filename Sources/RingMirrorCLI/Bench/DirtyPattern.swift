import RingMirror

/// How dirty granules lie on a disk.
enum DirtyPattern: String, CaseIterable, Sendable {
    /// Single granules anywhere.
    case random
    /// Stretches of some granules anywhere.
    case clumped
    /// One stretch that begins anywhere.
    case sequential

    /// A bitmap in which exactly `count` granules are dirty, chosen by `seed`.
    ///
    /// All three patterns are pieces of equal length, the last few granules in a shorter one, at
    /// places that don't overlap: a granule a piece, a clump a piece, or one piece for all.
    ///
    /// - Parameters:
    ///   - count: from 1 to the number of granules.
    ///   - clump: granules in a clump, 1 or more; the other patterns don't look at it.
    /// - Complexity: O(granules) at worst, less for few and long pieces. Memory for two bitmaps.
    func choose(
        _ count: Int, size: Int64, granularity: Granularity, clump: Int, seed: UInt64
    ) -> DirtyBitmap {
        let length =
            switch self {
            case .random: 1
            case .clumped: min(clump, count)
            case .sequential: count
            }
        var numbers = SeededNumbers(seed: seed)
        return Self.pieces(count, of: length, DirtyBitmap(size: size, granularity: granularity)) {
            numbers.below($0)
        }
    }

    /// Every way to lay the pieces down is as likely as any other: with each piece shrunk to one
    /// granule, it is a choice of that many granules of a smaller disk.
    private static func pieces(
        _ count: Int, of length: Int, _ clean: consuming DirtyBitmap, below: (Int) -> Int
    ) -> DirtyBitmap {
        precondition(
            count > 0 && count <= clean.granuleCount,
            "\(count) of \(clean.granuleCount) granules can't be dirty")
        let pieceCount = (count - 1) / length + 1
        guard length > 1 else { return choose(count, in: clean, below: below) }
        let granule = clean.granularity.bytes
        let shrunk = clean.granuleCount - count + pieceCount
        let starts = choose(
            pieceCount,
            in: DirtyBitmap(
                size: min(clean.size, Int64(shrunk) * granule), granularity: clean.granularity),
            below: below)
        // One piece may be shorter, and it may be any of them.
        let shorter = below(pieceCount)
        let shorterLength = count - (pieceCount - 1) * length
        var result = clean
        var index = 0
        var shift: Int64 = 0
        starts.forEachDirtyRun { run in
            for start in stride(from: run.lowerBound, to: run.upperBound, by: Int(granule)) {
                let bytes = Int64(index == shorter ? shorterLength : length) * granule
                let from = start + shift
                result.set(from..<min(from + bytes, result.size))
                shift += bytes - granule
                index += 1
            }
        }
        return result
    }

    /// Makes `count` granules of a clean bitmap dirty, every choice as likely as any other.
    ///
    /// Floyd's way of sampling, with the bitmap itself as the set of what has been chosen.
    private static func choose(
        _ count: Int, in clean: consuming DirtyBitmap, below: (Int) -> Int
    ) -> DirtyBitmap {
        var bitmap = clean
        let all = bitmap.granuleCount
        // Of more than half, what stays clean is chosen: at most half of the work.
        let isInverted = count > all / 2
        let chosen = isInverted ? all - count : count
        for last in (all - chosen)..<all {
            let granule = below(last + 1)
            let offset = Int64(granule) * bitmap.granularity.bytes
            bitmap.mark(bitmap.isDirty(at: offset) ? last : granule)
        }
        if isInverted { bitmap.invert() }
        return bitmap
    }

    /// How many granules a share of them is: the nearest number, and at least one.
    static func count(share: Double, of granules: Int) -> Int {
        min(granules, max(1, Int((share * Double(granules)).rounded())))
    }
}

extension DirtyBitmap {
    fileprivate mutating func mark(_ granule: Int) {
        let offset = Int64(granule) * granularity.bytes
        set(offset..<(offset + 1))
    }
}
