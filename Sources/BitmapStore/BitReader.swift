internal import DirtyBitmap
internal import SystemPackage

/// Reads the bits of one generation.
struct BitReader {
    let file: any StoreFile
    let tables: [Reference: [Reference]]

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

    /// References to the pages of a table, whether it has a block or not.
    func references(_ table: Reference, count: Int) throws(BitmapStoreError) -> [Reference] {
        guard table.isStored else { return Array(repeating: table, count: count) }
        guard let found = tables[table] else {
            throw .damaged(
                path: file.path, offset: Int64(table.offset), why: "a table was never read")
        }
        return Array(found.prefix(count))
    }

    /// The whole bitmap.
    ///
    /// - Complexity: O(words), and a read for each page that has a block.
    func load(_ tree: BitTree) throws(BitmapStoreError) -> DirtyBitmap {
        let layout = tree.layout
        let geometry = layout.geometry
        var bitmap = DirtyBitmap(size: geometry.size, granularity: geometry.granularity)
        for (index, table) in tree.tables.enumerated() where table != .clean {
            let pages = layout.pages(ofTable: index)
            for (page, reference) in zip(pages, try references(table, count: pages.count)) {
                if reference == .clean { continue }
                if reference == .dirty {
                    bitmap.set(layout.bytes(ofPage: page))
                    continue
                }
                let bytes = try BitReader.block(reference, file)
                let words = layout.words(ofPage: page)
                do throws(DirtyBitmapError) {
                    try bitmap.load(
                        words: bytes.span.extracting(first: words.count * 8),
                        at: words.lowerBound)
                } catch {
                    throw .damaged(
                        path: file.path, offset: Int64(reference.offset),
                        why: error.description)
                }
            }
        }
        guard bitmap.dirtyBytes == tree.dirtyBytes else {
            throw .damaged(
                path: file.path, offset: 0,
                why: "a bitmap has \(bitmap.dirtyBytes) dirty bytes and not the "
                    + "\(tree.dirtyBytes) that the directory says")
        }
        return bitmap
    }

    /// One page as a bitmap of its own, which begins where the page does.
    func load(
        page: Int, _ reference: Reference, _ layout: BitLayout
    ) throws(BitmapStoreError) -> DirtyBitmap {
        let range = layout.bytes(ofPage: page)
        var bitmap = DirtyBitmap(
            size: range.upperBound - range.lowerBound, granularity: layout.geometry.granularity)
        if reference == .dirty { bitmap.setAll() }
        guard reference.isStored else { return bitmap }
        let bytes = try BitReader.block(reference, file)
        do throws(DirtyBitmapError) {
            try bitmap.load(
                words: bytes.span.extracting(first: bitmap.wordCount * 8), at: 0)
        } catch {
            throw .damaged(
                path: file.path, offset: Int64(reference.offset), why: error.description)
        }
        return bitmap
    }
}
