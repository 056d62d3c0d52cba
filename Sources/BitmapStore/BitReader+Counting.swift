internal import DirtyBitmap

extension BitReader {
    /// Counts the dirty bytes of a tree: from a tree of which they are known, by the pages in which
    /// the two differ. The one is taken that costs the fewest reads.
    ///
    /// - Parameters:
    ///   - tree: its `dirtyBytes` are of no account.
    ///   - others: have the same layout.
    ///   - counts: dirty bytes of pages, as far as they are known.
    func dirtyBytes(
        of tree: BitTree, like others: [BitTree], _ counts: [Reference: Int64]
    ) throws(BitmapStoreError) -> Int64 {
        let layout = tree.layout
        var best: (base: Int64, differences: [PageDifference], reads: Int)?
        for other in others + [.clean(layout), .dirty(layout)] {
            let differences = try differences(of: tree, from: other)
            let reads = differences.reduce(0) { $0 + $1.reads(counts) }
            if reads >= best?.reads ?? .max { continue }
            best = (other.dirtyBytes, differences, reads)
            if reads == 0 { break }
        }
        var dirtyBytes = best?.base ?? 0
        for difference in best?.differences ?? [] {
            dirtyBytes &+= try count(difference.new, difference.page, layout, counts)
            dirtyBytes &-= try count(difference.old, difference.page, layout, counts)
        }
        guard (0...layout.geometry.size).contains(dirtyBytes) else {
            throw .damaged(
                path: file.path, offset: 0,
                why: "a bitmap has fewer or more dirty bytes than the directory says")
        }
        return dirtyBytes
    }

    /// Counts the dirty bytes that a formula comes to, without making the bitmap.
    ///
    /// - Complexity: none but comparisons if references stand for all of its tables and one of its
    ///   trees is not far from it; else a read for each page that is neither clean nor full. If
    ///   the layouts differ, O(words).
    func dirtyBytes(of formula: BitFormula) throws(BitmapStoreError) -> Int64 {
        if formula.operations.isEmpty { return formula.first.dirtyBytes }
        guard formula.hasOneLayout else { return try load(formula).dirtyBytes }
        let layout = formula.layout
        let wholes = (0..<layout.tableCount).compactMap { table in
            formula.resolve { formula.trees[$0].tables[table] }
        }
        if wholes.count == layout.tableCount {
            let tree = BitTree(layout: layout, tables: wholes, dirtyBytes: 0)
            return try dirtyBytes(of: tree, like: formula.trees, [:])
        }
        var dirtyBytes: Int64 = 0
        var counts: [Reference: Int64] = [:]
        for index in 0..<layout.tableCount {
            let table = try FormulaTable(formula, at: index, self)
            if table.whole == .clean { continue }
            for page in layout.pages(ofTable: index) {
                if let reference = table.resolve(page) {
                    dirtyBytes += try count(reference, page, layout, counts)
                } else {
                    dirtyBytes += try table.compute(page, self, counts: &counts).dirtyBytes
                }
            }
        }
        return dirtyBytes
    }

    private func count(
        _ reference: Reference, _ page: Int, _ layout: BitLayout, _ counts: [Reference: Int64]
    ) throws(BitmapStoreError) -> Int64 {
        guard reference.isStored else {
            return reference == .dirty ? Int64(layout.bytes(ofPage: page).count) : 0
        }
        if let known = counts[reference] { return known }
        return try load(page: page, reference, layout).dirtyBytes
    }

    private func differences(
        of tree: BitTree, from other: BitTree
    ) throws(BitmapStoreError) -> [PageDifference] {
        var result: [PageDifference] = []
        for index in tree.tables.indices where tree.tables[index] != other.tables[index] {
            let new = try references(tree.tables[index])
            let old = try references(other.tables[index])
            for (place, page) in tree.layout.pages(ofTable: index).enumerated()
            where new[place] != old[place] {
                result.append(PageDifference(page: page, new: new[place], old: old[place]))
            }
        }
        return result
    }
}

/// A page that is not the same in two trees.
private struct PageDifference {
    let page: Int
    let new: Reference
    let old: Reference

    func reads(_ counts: [Reference: Int64]) -> Int {
        [new, old].count { $0.isStored && counts[$0] == nil }
    }
}
