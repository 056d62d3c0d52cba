internal import DirtyBitmap

// Changing bits: only pages that differ are written, and only tables above such pages.

extension Transaction {
    /// Stores all of a bitmap.
    ///
    /// - Complexity: O(words).
    mutating func store(_ bits: borrowing DirtyBitmap) throws(BitmapStoreError) -> BitTree {
        let layout = BitLayout(bits.geometry)
        var edit = TreeEdit(.clean(layout))
        for page in 0..<layout.pageCount {
            let reference = try write(page: page, of: bits, layout)
            if reference != .clean { try edit.set(page, reference, reader) }
        }
        return try finish(edit, dirtyBytes: bits.dirtyBytes)
    }

    /// Stores a bitmap of which `previous` is stored in `tree`.
    ///
    /// - Complexity: O(words).
    mutating func store(
        _ bits: borrowing DirtyBitmap, since previous: borrowing DirtyBitmap, in tree: BitTree
    ) throws(BitmapStoreError) -> BitTree {
        let layout = BitLayout(bits.geometry)
        guard layout == tree.layout, previous.geometry == bits.geometry else {
            return try store(bits)
        }
        var edit = TreeEdit(tree)
        for page in 0..<layout.pageCount
        where !haveEqualWords(bits, previous, layout.words(ofPage: page)) {
            try edit.set(page, try write(page: page, of: bits, layout), reader)
        }
        return try finish(edit, dirtyBytes: bits.dirtyBytes)
    }

    /// Marks ranges dirty; they must be within the disk.
    ///
    /// - Complexity: O(pages touched), each read and written at most once.
    mutating func mark(
        _ ranges: [Range<Int64>], in tree: BitTree
    ) throws(BitmapStoreError) -> BitTree {
        let layout = tree.layout
        var edit = TreeEdit(tree)
        var dirtyBytes = tree.dirtyBytes
        let ranges = joined(ranges)
        var next = 0
        while next < ranges.count {
            var page = layout.pages(touching: ranges[next]).lowerBound
            // All ranges that reach into this page and those behind it, as long as one does.
            while next < ranges.count {
                let area = layout.bytes(ofPage: page)
                var pieces: [Range<Int64>] = []
                while next < ranges.count, ranges[next].lowerBound < area.upperBound {
                    pieces.append(ranges[next].clamped(to: area))
                    if ranges[next].upperBound > area.upperBound { break }
                    next += 1
                }
                if pieces.isEmpty { break }
                dirtyBytes += try mark(pieces, inPage: page, &edit)
                page += 1
            }
        }
        return try finish(edit, dirtyBytes: dirtyBytes)
    }

    /// - Returns: the bytes that became dirty.
    private mutating func mark(
        _ pieces: [Range<Int64>], inPage page: Int, _ edit: inout TreeEdit
    ) throws(BitmapStoreError) -> Int64 {
        let layout = edit.tree.layout
        let old = try edit.reference(page, reader)
        if old == .dirty { return 0 }
        let start = layout.bytes(ofPage: page).lowerBound
        var bits = try reader.load(page: page, old, layout)
        let before = bits.dirtyBytes
        for piece in pieces {
            bits.set(piece.lowerBound - start..<piece.upperBound - start)
        }
        let gained = bits.dirtyBytes - before
        guard gained > 0 else { return 0 }
        let reference = try write(page: 0, of: bits, BitLayout(bits.geometry))
        try edit.set(page, reference, reader)
        return gained
    }

    /// One page of a bitmap, as a block if it takes one.
    private mutating func write(
        page: Int, of bits: borrowing DirtyBitmap, _ layout: BitLayout
    ) throws(BitmapStoreError) -> Reference {
        let words = layout.words(ofPage: page)
        switch content(of: bits, words, isLast: words.upperBound == bits.wordCount) {
        case .clean: return .clean
        case .dirty: return .dirty
        case .mixed:
            var block: [UInt8] = []
            block.reserveCapacity(blockBytes)
            bits.serialize(words: words, into: &block)
            block += Array(repeating: 0, count: blockBytes - block.count)
            return try write(block)
        }
    }

    /// Writes the tables that were changed.
    private mutating func finish(
        _ edit: TreeEdit, dirtyBytes: Int64
    ) throws(BitmapStoreError) -> BitTree {
        var tree = edit.tree
        tree.dirtyBytes = dirtyBytes
        for (index, table) in edit.tables.sorted(by: { $0.key < $1.key }) {
            if table.allSatisfy({ $0 == .clean }) {
                tree.tables[index] = .clean
            } else if table.allSatisfy({ $0 == .dirty }) {
                tree.tables[index] = .dirty
            } else {
                tree.tables[index] = try write(table: table)
            }
        }
        return tree
    }
}

/// References of one bitmap that are being changed.
private struct TreeEdit {
    let tree: BitTree
    /// Those that differ from the tree's.
    private(set) var tables: [Int: [Reference]] = [:]

    init(_ tree: BitTree) { self.tree = tree }

    func reference(_ page: Int, _ reader: BitReader) throws(BitmapStoreError) -> Reference {
        let (index, place) = page.quotientAndRemainder(dividingBy: BitLayout.pagesPerTable)
        if let table = tables[index] { return table[place] }
        let count = tree.layout.pages(ofTable: index).count
        return try reader.references(tree.tables[index], count: count)[place]
    }

    mutating func set(
        _ page: Int, _ reference: Reference, _ reader: BitReader
    ) throws(BitmapStoreError) {
        let (index, place) = page.quotientAndRemainder(dividingBy: BitLayout.pagesPerTable)
        if tables[index] == nil {
            let count = tree.layout.pages(ofTable: index).count
            let table = try reader.references(tree.tables[index], count: count)
            if table[place] == reference { return }
            tables[index] = table
        }
        tables[index]?[place] = reference
    }
}

private enum PageContent { case clean, dirty, mixed }

private func content(
    of bits: borrowing DirtyBitmap, _ range: Range<Int>, isLast: Bool
) -> PageContent {
    let words = bits.words.span
    var all = ~0 as UInt64
    var any = 0 as UInt64
    let whole = isLast ? range.upperBound &- 1 : range.upperBound
    for index in range.lowerBound..<whole {
        all &= words[index]
        any |= words[index]
    }
    if isLast {
        // Bits behind the last granule are clear, and count as whatever suits.
        let word = words[whole]
        any |= word
        all &= word | bits.geometry.bitsPastEnd(inLastWord: ~0)
    }
    return any == 0 ? .clean : all == ~0 ? .dirty : .mixed
}

private func haveEqualWords(
    _ first: borrowing DirtyBitmap, _ second: borrowing DirtyBitmap, _ range: Range<Int>
) -> Bool {
    let one = first.words.span
    let two = second.words.span
    var difference = 0 as UInt64
    for index in range { difference |= one[index] ^ two[index] }
    return difference == 0
}

/// The same bytes in ascending ranges that neither touch nor are empty.
private func joined(_ ranges: [Range<Int64>]) -> [Range<Int64>] {
    var result: [Range<Int64>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
        if let last = result.last, last.upperBound >= range.lowerBound {
            let end = max(last.upperBound, range.upperBound)
            result[result.count - 1] = last.lowerBound..<end
        } else {
            result.append(range)
        }
    }
    return result
}
