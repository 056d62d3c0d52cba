internal import DirtyBitmap

// Changing bits: only pages that differ are written, and only tables above such pages.

extension Transaction {
    /// Stores a bitmap in place of a tree, whose blocks stay where nothing has changed.
    ///
    /// - Parameters:
    ///   - tree: may have another layout, and is of no use then; nil: there is none.
    ///   - known: if it is what `tree` has, no page of that need be read to compare it.
    /// - Complexity: O(words).
    mutating func store(
        _ bits: borrowing DirtyBitmap, in tree: BitTree? = nil, _ known: KnownBits? = nil
    ) throws(BitmapStoreError) -> BitTree {
        let layout = BitLayout(bits.geometry)
        let base = tree?.layout == layout ? tree ?? .clean(layout) : .clean(layout)
        let previous = known?.tree == base ? known?.copy : nil
        var edit = TreeEdit(base)
        for page in 0..<layout.pageCount {
            if let previous {
                let words = layout.words(ofPage: page)
                if haveEqualWords(bits, previous.bits, words) { continue }
            }
            let old = previous == nil ? try edit.reference(page, reader) : .clean
            try edit.set(page, try write(page: page, of: bits, layout, replacing: old), reader)
        }
        return try finish(edit, dirtyBytes: bits.dirtyBytes)
    }

    /// Makes the first tree of a formula what the formula comes to.
    ///
    /// - Complexity: if all have one layout, O(pages) comparisons of references, and only such
    ///   pages are read and written for which no reference stands; otherwise O(words).
    mutating func evaluate(_ formula: BitFormula) throws(BitmapStoreError) -> BitTree {
        guard formula.hasOneLayout else {
            return try store(try reader.load(formula), in: formula.first)
        }
        let layout = formula.layout
        var edit = TreeEdit(formula.first)
        var counts: [Reference: Int64] = [:]
        for index in 0..<layout.tableCount {
            let table = try FormulaTable(formula, at: index, reader)
            if let whole = table.whole {
                edit.set(table: index, whole)
                continue
            }
            for page in layout.pages(ofTable: index) {
                if let reference = table.resolve(page) {
                    try edit.set(page, reference, reader)
                    continue
                }
                let bits = try table.compute(page, reader, counts: &counts)
                let reference = try write(
                    page: 0, of: bits, BitLayout(bits.geometry),
                    replacing: try edit.reference(page, reader))
                if reference.isStored { counts[reference] = bits.dirtyBytes }
                try edit.set(page, reference, reader)
            }
        }
        var tree = try finish(edit, dirtyBytes: 0)
        tree.dirtyBytes = try reader.dirtyBytes(of: tree, like: formula.trees, counts)
        return tree
    }

    /// Marks dirty what a bitmap of any granularity has dirty.
    ///
    /// - Complexity: O(words), and of the tree only pages are read in which there is something to
    ///   mark.
    mutating func merge(
        _ bits: borrowing DirtyBitmap, into tree: BitTree
    ) throws(BitmapStoreError) -> BitTree {
        let layout = tree.layout
        var edit = TreeEdit(tree)
        var dirtyBytes = tree.dirtyBytes
        for page in 0..<layout.pageCount
        where bits.containsDirty(in: layout.bytes(ofPage: page)) {
            let piece = try self.page(page, of: bits, layout)
            dirtyBytes &+= try add(piece, toPage: page, &edit)
        }
        return try finish(edit, dirtyBytes: dirtyBytes)
    }

    private func page(
        _ page: Int, of bits: borrowing DirtyBitmap, _ layout: BitLayout
    ) throws(BitmapStoreError) -> DirtyBitmap {
        var piece = try reader.load(page: page, .clean, layout)
        guard bits.granularity == layout.geometry.granularity else {
            let area = layout.bytes(ofPage: page)
            bits.forEachDirtyRun(in: area) { run in
                piece.set(run.lowerBound - area.lowerBound..<run.upperBound - area.lowerBound)
            }
            return piece
        }
        var words: [UInt8] = []
        words.reserveCapacity(blockBytes)
        bits.serialize(words: layout.words(ofPage: page), into: &words)
        do throws(DirtyBitmapError) { try piece.load(words: words, at: 0) } catch {
            throw .bits(error)
        }
        return piece
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
                dirtyBytes &+= try mark(pieces, inPage: page, &edit)
                page += 1
            }
        }
        return try finish(edit, dirtyBytes: dirtyBytes)
    }

    private mutating func mark(
        _ pieces: [Range<Int64>], inPage page: Int, _ edit: inout TreeEdit
    ) throws(BitmapStoreError) -> Int64 {
        let layout = edit.layout
        let start = layout.bytes(ofPage: page).lowerBound
        var bits = try reader.load(page: page, .clean, layout)
        for piece in pieces {
            bits.set(piece.lowerBound - start..<piece.upperBound - start)
        }
        return try add(bits, toPage: page, &edit)
    }

    /// - Returns: the bytes that became dirty.
    private mutating func add(
        _ piece: borrowing DirtyBitmap, toPage page: Int, _ edit: inout TreeEdit
    ) throws(BitmapStoreError) -> Int64 {
        let old = try edit.reference(page, reader)
        if old == .dirty { return 0 }
        var bits = try reader.load(page: page, old, edit.layout)
        let before = bits.dirtyBytes
        try BitOperation.Kind.merge.apply(piece, to: &bits)
        let gained = bits.dirtyBytes - before
        guard gained > 0 else { return 0 }
        try edit.set(page, try write(page: 0, of: bits, BitLayout(bits.geometry)), reader)
        return gained
    }

    /// One page of a bitmap, as a block if it takes one.
    ///
    /// - Parameter old: the page in whose place it comes, and which stays if it is the same.
    private mutating func write(
        page: Int, of bits: borrowing DirtyBitmap, _ layout: BitLayout,
        replacing old: Reference = .clean
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
            if old.isStored, try BitReader.block(old, file) == block { return old }
            return try write(block)
        }
    }

    /// Writes the tables that were changed.
    private mutating func finish(
        _ edit: TreeEdit, dirtyBytes: Int64
    ) throws(BitmapStoreError) -> BitTree {
        var tree = edit.tree
        guard (0...tree.layout.geometry.size).contains(dirtyBytes) else {
            throw .damaged(
                path: file.path, offset: 0,
                why: "a bitmap has fewer dirty bytes than the directory says")
        }
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
    private(set) var tree: BitTree
    /// Those that differ from the tree's.
    private(set) var tables: [Int: [Reference]] = [:]

    init(_ tree: BitTree) { self.tree = tree }

    var layout: BitLayout { tree.layout }

    func reference(_ page: Int, _ reader: BitReader) throws(BitmapStoreError) -> Reference {
        let (index, place) = page.quotientAndRemainder(dividingBy: BitLayout.pagesPerTable)
        if let table = tables[index] { return table[place] }
        return try reader.references(tree.tables[index])[place]
    }

    mutating func set(
        _ page: Int, _ reference: Reference, _ reader: BitReader
    ) throws(BitmapStoreError) {
        let (index, place) = page.quotientAndRemainder(dividingBy: BitLayout.pagesPerTable)
        if tables[index] == nil {
            let table = try reader.references(tree.tables[index])
            if table[place] == reference { return }
            tables[index] = table.array(count: layout.pages(ofTable: index).count)
        }
        tables[index]?[place] = reference
    }

    /// - Parameter reference: to a table that there is already.
    mutating func set(table index: Int, _ reference: Reference) {
        tree.tables[index] = reference
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
