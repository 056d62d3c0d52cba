internal import DirtyBitmap
internal import SystemPackage

/// Reads the bits of one generation.
struct BitReader {
    let file: any StoreFile
    /// Those that are kept in memory.
    let tables: TableCache

    /// One block, checked.
    static func block(
        _ reference: Reference, _ file: any StoreFile
    ) throws(BitmapStoreError) -> [UInt8] {
        let bytes = try file.read(at: Int64(reference.offset), count: blockBytes)
        guard xxHash64(bytes) == reference.checksum else {
            throw .damaged(
                path: file.path, offset: Int64(reference.offset),
                why: "the block's checksum is wrong")
        }
        return bytes
    }

    /// References to the pages of a table.
    func references(_ table: Reference) throws(BitmapStoreError) -> TableReferences {
        guard table.isStored else { return TableReferences(table, stored: nil) }
        return TableReferences(table, stored: try tables.read(table, file))
    }

    /// The whole bitmap.
    ///
    /// - Complexity: O(words) to make it; beyond that, only pages that are not clean are touched,
    ///   and those that have a block are read.
    func load(_ tree: BitTree) throws(BitmapStoreError) -> DirtyBitmap {
        var dirtyBytes: Int64 = 0
        let bitmap = try load(BitFormula(tree), counting: &dirtyBytes)
        guard dirtyBytes == tree.dirtyBytes else {
            throw wrongCount(dirtyBytes, insteadOf: tree.dirtyBytes)
        }
        return bitmap
    }

    /// What a formula comes to, as one bitmap.
    ///
    /// - Complexity: as for one tree; if the layouts differ, O(words) for each.
    func load(_ formula: BitFormula) throws(BitmapStoreError) -> DirtyBitmap {
        if formula.hasOneLayout {
            var dirtyBytes: Int64 = 0
            return try load(formula, counting: &dirtyBytes)
        }
        var bitmap = try load(formula.first)
        for operation in formula.operations {
            var right = try load(formula.trees[operation.operand])
            if let exception = operation.exception {
                right = try BitOperation.Kind.leavingOut(
                    try load(formula.trees[exception]), of: right)
            }
            try operation.kind.apply(right, to: &bitmap)
        }
        return bitmap
    }

    private func load(
        _ formula: BitFormula, counting dirtyBytes: inout Int64
    ) throws(BitmapStoreError) -> DirtyBitmap {
        let layout = formula.layout
        let geometry = layout.geometry
        var bitmap = DirtyBitmap(size: geometry.size, granularity: geometry.granularity)
        var counts: [Reference: Int64] = [:]
        for index in 0..<layout.tableCount {
            let table = try FormulaTable(formula, at: index, self)
            if table.whole == .clean { continue }
            for page in layout.pages(ofTable: index) {
                let reference = table.resolve(page)
                if reference == .clean { continue }
                let area = layout.bytes(ofPage: page)
                if reference == .dirty {
                    bitmap.set(area)
                } else if let reference {
                    try load(reference, into: &bitmap, layout.words(ofPage: page))
                } else {
                    let words = try table.compute(page, self, counts: &counts).serialized()
                    try put(words, into: &bitmap, layout.words(ofPage: page).lowerBound)
                }
                dirtyBytes += bitmap.dirtyBytes(in: area)
            }
        }
        return bitmap
    }

    private func load(
        _ reference: Reference, into bitmap: inout DirtyBitmap, _ words: Range<Int>
    ) throws(BitmapStoreError) {
        let bytes = try BitReader.block(reference, file)
        do throws(DirtyBitmapError) {
            try bitmap.load(
                words: bytes.span.extracting(first: words.count * 8), at: words.lowerBound)
        } catch {
            throw .damaged(
                path: file.path, offset: Int64(reference.offset), why: error.description)
        }
    }

    private func put(
        _ words: [UInt8], into bitmap: inout DirtyBitmap, _ first: Int
    ) throws(BitmapStoreError) {
        do throws(DirtyBitmapError) {
            try bitmap.load(words: words, at: first)
        } catch {
            throw .bits(error)
        }
    }

    private func wrongCount(_ found: Int64, insteadOf expected: Int64) -> BitmapStoreError {
        .damaged(
            path: file.path, offset: 0,
            why: "a bitmap has \(found) dirty bytes and not the \(expected) that the directory "
                + "says")
    }

    /// One page as a bitmap of its own, which begins where the page does.
    func load(
        page: Int, _ reference: Reference, _ layout: BitLayout
    ) throws(BitmapStoreError) -> DirtyBitmap {
        let range = layout.bytes(ofPage: page)
        var bitmap = DirtyBitmap(
            size: range.upperBound - range.lowerBound, granularity: layout.geometry.granularity)
        if reference == .dirty { bitmap.setAll() }
        if reference.isStored { try load(reference, into: &bitmap, 0..<bitmap.wordCount) }
        return bitmap
    }
}
