internal import DirtyBitmap

/// How the bits of one bitmap are cut into pages, and the pages into tables.
struct BitLayout: Hashable, Sendable {
    static let wordsPerPage = blockBytes / 8
    static let granulesPerPage = blockBytes * 8
    static let pagesPerTable = blockBytes / Reference.byteCount

    let geometry: BitmapGeometry

    init(size: Int64, shift: Int) throws(DirtyBitmapError) {
        let granularity = try Granularity(bytes: (9...31).contains(shift) ? 1 << Int64(shift) : 0)
        geometry = try BitmapGeometry(size: size, granularity: granularity)
    }

    init(_ geometry: BitmapGeometry) { self.geometry = geometry }

    var shift: Int { geometry.granularity.shift }

    var pageCount: Int {
        geometry.granuleCount.dividedRoundingUp(by: Self.granulesPerPage)
    }

    var tableCount: Int { pageCount.dividedRoundingUp(by: Self.pagesPerTable) }

    func pages(ofTable table: Int) -> Range<Int> {
        table * Self.pagesPerTable..<min((table + 1) * Self.pagesPerTable, pageCount)
    }

    func granules(ofPage page: Int) -> Range<Int> {
        page * Self.granulesPerPage..<min((page + 1) * Self.granulesPerPage, geometry.granuleCount)
    }

    func words(ofPage page: Int) -> Range<Int> {
        page * Self.wordsPerPage..<min((page + 1) * Self.wordsPerPage, geometry.wordCount)
    }

    /// The bytes of the disk that a page stands for.
    func bytes(ofPage page: Int) -> Range<Int64> {
        geometry.bytes(ofGranules: granules(ofPage: page))
    }

    func pages(touching range: Range<Int64>) -> Range<Int> {
        let granules = geometry.granules(touching: range)
        guard !granules.isEmpty else { return 0..<0 }
        return granules.lowerBound / Self.granulesPerPage..<(granules.upperBound - 1)
            / Self.granulesPerPage + 1
    }

    /// Dirty granules that come to so many dirty bytes. Only the last granule can be short, so
    /// that this is exact.
    func granules(inDirtyBytes bytes: Int64) -> Int {
        Int((bytes >> Int64(shift)) + (bytes & (geometry.granularity.bytes - 1) == 0 ? 0 : 1))
    }
}

/// The bits of one bitmap in the file.
struct BitTree: Equatable, Sendable {
    var layout: BitLayout
    /// One for each table.
    var tables: [Reference]
    /// Exact: the last granule counts with its real length.
    var dirtyBytes: Int64

    static func clean(_ layout: BitLayout) -> BitTree {
        BitTree(
            layout: layout, tables: Array(repeating: .clean, count: layout.tableCount),
            dirtyBytes: 0)
    }

    static func dirty(_ layout: BitLayout) -> BitTree {
        BitTree(
            layout: layout, tables: Array(repeating: .dirty, count: layout.tableCount),
            dirtyBytes: layout.geometry.size)
    }

    var dirtyCount: Int { layout.granules(inDirtyBytes: dirtyBytes) }
}
