import DirtyBitmap

/// Takes the entries of a file one by one and makes the extents of a map of them: the one place
/// where overflow, order, overlaps and the end of the disk are checked.
struct ExtentCollector {
    typealias Place = ChangeMapError.Place

    /// How the entries of a format follow each other.
    enum Order: Equatable {
        /// Each starts where the last one ended, and the first at 0.
        case contiguous
        /// Each starts where the last one ended; the first anywhere.
        case contiguousFromAnywhere
        /// Each starts at or behind the end of the last one.
        case ascending
        /// In any order, but without overlaps.
        case any
    }

    /// The most extents that a map may have; they take 24 bytes each.
    static let extentCountMax = 1 << 26

    let source: ChangeMapInput
    let order: Order

    /// Bytes per unit of the numbers that come in.
    let unit: Int64

    /// How far an entry that starts on the disk may reach past its end: sizes are often rounded
    /// up to whole units.
    private var overhang: Int64

    /// Where entries end: the end of the disk, or of the map if that says that it is smaller.
    private var limit: Int64

    /// What the file says about the size of the disk.
    private(set) var declaredSize: Int64?

    private var extents: [ChangeMap.Extent] = []

    /// Where each extent came from; kept only if they have to be sorted.
    private var places: [Place] = []
    private var isSorted = true

    /// Where the first entry starts and the last one ends, as the file says it.
    private var firstStart: Int64?
    private var lastEnd: Int64 = 0

    /// - Parameters:
    ///   - unit: bytes per unit of `add`, above 0.
    ///   - overhang: bytes that entries may reach past the end; by default, less than a unit.
    init(_ source: ChangeMapInput, order: Order, unit: Int64 = 1, overhang: Int64? = nil) {
        self.source = source
        self.order = order
        self.unit = unit
        self.overhang = overhang ?? unit - 1
        limit = source.deviceSize
    }

    /// Takes the size of the disk that the file gives.
    ///
    /// What the disk has and the map hasn't counts as changed; see `finish`.
    ///
    /// - Throws: `beyondDevice` if the disk is smaller.
    mutating func declare(size: Int64, at place: Place) throws(ChangeMapError) {
        guard size <= source.deviceSize else {
            throw source.error(
                .beyondDevice, at: place,
                "the map is for \(size) bytes, and the disk has only \(source.deviceSize)",
                remedy: Self.otherDisk)
        }
        declaredSize = size
        limit = size
    }

    /// Takes an entry of `count` units from unit `first` on.
    mutating func add(
        _ first: Int64, count: Int64, _ meaning: ChangeMap.Meaning, at place: Place
    ) throws(ChangeMapError) {
        guard first >= 0, count > 0 else {
            throw source.malformed(
                place, "an entry of length \(count) at \(first) says nothing that can be used")
        }
        let (start, startOverflows) = first.multipliedReportingOverflow(by: unit)
        let (next, nextOverflows) = first.addingReportingOverflow(count)
        let (product, endOverflows) = next.multipliedReportingOverflow(by: unit)
        let end = nextOverflows || endOverflows ? Int64.max : product
        guard !startOverflows, end <= limit || reachesOver(start, end) else {
            throw beyond(first, count, place)
        }
        try checkOrder(start, place)
        firstStart = firstStart ?? start
        lastEnd = max(lastEnd, end)
        guard start < limit else { return }
        try append(start..<min(end, limit), meaning, place)
    }

    /// Whether the entry may be cut at the limit.
    private func reachesOver(_ start: Int64, _ end: Int64) -> Bool {
        (start < limit || overhang == .max) && end - limit <= overhang
    }

    private mutating func checkOrder(_ start: Int64, _ place: Place) throws(ChangeMapError) {
        switch order {
        case .any:
            if start < lastEnd { isSorted = false }
            return
        case .ascending: guard start < lastEnd else { return }
        case .contiguous: guard start != lastEnd else { return }
        case .contiguousFromAnywhere: guard firstStart != nil, start != lastEnd else { return }
        }
        throw source.error(
            .misplaced, at: place,
            start < lastEnd
                ? "the entry at byte \(start) starts before the end of the one before it, "
                    + "\(lastEnd)"
                : "nothing is said about the bytes from \(lastEnd) to \(start)",
            remedy: "The file is damaged or was put together by hand: make it again.")
    }

    private mutating func append(
        _ range: Range<Int64>, _ meaning: ChangeMap.Meaning, _ place: Place
    ) throws(ChangeMapError) {
        if let last = extents.last, last.meaning == meaning,
            last.range.upperBound == range.lowerBound
        {
            let joined = last.range.lowerBound..<range.upperBound
            extents[extents.count - 1] = ChangeMap.Extent(range: joined, meaning: meaning)
            return
        }
        guard extents.count < Self.extentCountMax else {
            throw source.error(
                .tooLarge, at: place, "the map has more than \(Self.extentCountMax) extents",
                remedy: "Make it with larger blocks.")
        }
        extents.append(ChangeMap.Extent(range: range, meaning: meaning))
        if order == .any { places.append(place) }
    }

    private func beyond(_ first: Int64, _ count: Int64, _ place: Place) -> ChangeMapError {
        let units = unit == 1 ? "bytes" : "blocks of \(unit) bytes"
        let end = limit < source.deviceSize ? "its own map says \(limit)" : "the disk has \(limit)"
        return source.error(
            .beyondDevice, at: place,
            "the entry at \(first) with \(count) \(units) ends past the end of the disk: "
                + "\(end) bytes",
            remedy: Self.otherDisk)
    }

    private static let otherDisk =
        "It belongs to another disk, or the disk shrank: make it again for this one."
}

extension ExtentCollector {
    /// The finished map.
    ///
    /// Bytes of the disk that a map doesn't reach, because it was made for a smaller one, count
    /// as changed, and a warning says so.
    ///
    /// - Complexity: O(extents), or O(extents log extents) if they came unsorted.
    consuming func finish(
        _ format: ChangeMapFormat, gaps: ChangeMap.Meaning, name: String? = nil,
        granularity: Granularity? = nil, warnings: [String] = []
    ) throws(ChangeMapError) -> ChangeMap {
        var warnings = warnings
        if !isSorted { try sort() }
        var needsJoining = !isSorted
        var covered = 0..<limit
        if order == .contiguous || order == .contiguousFromAnywhere {
            let end = min(lastEnd, limit)
            covered = min(firstStart ?? 0, end)..<end
        }
        if covered.lowerBound > 0 {
            warnings.append(uncovered("before \(covered.lowerBound)"))
            let head = ChangeMap.Extent(range: 0..<covered.lowerBound, meaning: .copy)
            extents.insert(head, at: 0)
            needsJoining = true
        }
        if covered.upperBound < source.deviceSize {
            warnings.append(uncovered("from \(covered.upperBound) on"))
            let tail = covered.upperBound..<source.deviceSize
            extents.append(ChangeMap.Extent(range: tail, meaning: .copy))
            needsJoining = true
        }
        return ChangeMap(
            format: format, extents: needsJoining ? Self.joined(extents) : extents, gaps: gaps,
            size: source.deviceSize,
            deviceSize: declaredSize, name: name, granularity: granularity, warnings: warnings)
    }

    private func uncovered(_ what: String) -> String {
        "\(source.name) says nothing about the bytes \(what), "
            + "of the disk's \(source.deviceSize): they count as changed."
    }

    private mutating func sort() throws(ChangeMapError) {
        let sorted = extents.indices.sorted {
            extents[$0].range.lowerBound < extents[$1].range.lowerBound
        }
        for (before, after) in zip(sorted, sorted.dropFirst()) {
            guard extents[before].range.upperBound > extents[after].range.lowerBound else {
                continue
            }
            let later = max(before, after)
            throw source.error(
                .misplaced, at: places[later],
                "the entry at byte \(extents[later].range.lowerBound) overlaps another one, "
                    + "at byte \(extents[min(before, after)].range.lowerBound)",
                remedy: "Make it one entry, if the list was put together by hand.")
        }
        extents = sorted.map { extents[$0] }
    }

    /// The same extents, with neighbours of one meaning as one.
    private static func joined(_ extents: [ChangeMap.Extent]) -> [ChangeMap.Extent] {
        var result: [ChangeMap.Extent] = []
        result.reserveCapacity(extents.count)
        for extent in extents {
            if let last = result.last, last.meaning == extent.meaning,
                last.range.upperBound == extent.range.lowerBound
            {
                let range = last.range.lowerBound..<extent.range.upperBound
                result[result.count - 1] = ChangeMap.Extent(range: range, meaning: last.meaning)
            } else {
                result.append(extent)
            }
        }
        return result
    }
}
