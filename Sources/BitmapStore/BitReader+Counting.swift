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
