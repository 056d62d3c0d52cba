internal import BlockStorage

/// An entry of an L1 table: where an L2 table is. It takes the space of its word, because an image
/// may have millions of them.
package struct L1Entry: Sendable, Equatable {
    /// The entry as the image has it.
    package let encoded: UInt64

    /// 0 if there is no table.
    package var offset: Int64 { Int64(encoded & EntryBits.offset) }
    /// Nothing else refers to the table: it may be written in place.
    package var isCopied: Bool { encoded & EntryBits.copied != 0 }

    /// There is no table.
    package static let none = L1Entry(offset: 0, isCopied: false)

    package init(offset: Int64, isCopied: Bool) {
        precondition(UInt64(offset) & ~EntryBits.offset == 0, "no table can be at \(offset)")
        precondition(offset != 0 || !isCopied, "a table that is not there can't be written")
        encoded = UInt64(offset) | (isCopied ? EntryBits.copied : 0)
    }

    package init(_ word: UInt64, _ geometry: TableGeometry) throws(EntryProblem) {
        guard word & ~(EntryBits.copied | EntryBits.offset) == 0 else {
            throw EntryProblem("reserved bits are set in an L1 entry")
        }
        encoded = word
        guard UInt64(offset) & geometry.misaligned == 0 else {
            throw EntryProblem("an L2 table can't be at \(offset): no cluster begins there")
        }
        guard offset != 0 || !isCopied else {
            throw EntryProblem("an L2 table that is not there is marked as one to write in place")
        }
    }
}

/// The first table of an image: where the tables are that lead to the data.
enum L1Table {
    /// How much has to be true of a table beyond its entries making sense.
    enum Strictness {
        /// All of the table is there, and each L2 table lies in the file as a whole and over none
        /// of these regions. A reader has looked at nothing else.
        case reading(apartFrom: [MetadataRegion])
        /// Each L2 table begins in the file. What is missing of the last cluster of a file is
        /// zeros; that no table lies over another one is for `ImageCheck` to find, which knows all
        /// of them.
        case writing
    }

    /// Reads the whole table that the header leads to.
    static func read(
        of header: Header, in file: any ImageFile, strictness: Strictness
    ) throws(StorageError) -> [L1Entry] {
        // A reader has compared the table's place with the other tables' before.
        if case .writing = strictness, header.l1EntryCount > 0 {
            let length = try file.length()
            guard header.l1Offset >= header.clusterSize, header.l1Offset < length else {
                throw .damaged(
                    file.path, at: 40, "the L1 table at \(header.l1Offset) is not there")
            }
        }
        return try read(
            at: header.l1Offset, count: header.l1EntryCount, of: header, in: file,
            strictness: strictness)
    }

    /// The same of any L1 table of the image, also one of a snapshot.
    static func read(
        at start: Int64, count: Int, of header: Header, in file: any ImageFile,
        strictness: Strictness
    ) throws(StorageError) -> [L1Entry] {
        guard count > 0 else { return [] }
        let words: [UInt64]
        switch strictness {
        case .writing:
            words = try file.readFilled(at: start, count: count * 8).bigEndianWords()
        case .reading:
            let bytes = try file.read(at: start, count: count * 8)
            guard bytes.count == count * 8 else {
                throw .image(
                    ImageProblem(.malformed, file.path, at: start, "the file ends in the L1 table"))
            }
            words = bytes.bigEndianWords()
        }
        let check = L1Check(
            file: file, fileLength: try file.length(), geometry: TableGeometry(header),
            strictness: strictness)
        var entries: [L1Entry] = []
        entries.reserveCapacity(count)
        for index in words.indices {
            // Most entries of a sparse image are empty.
            entries.append(
                words[index] == 0
                    ? .none : try check.entry(words[index], at: start + Int64(index) * 8))
        }
        assert(entries.count == count, "an entry was left out: all behind it would move")
        return entries
    }
}

/// Checks the entries of one L1 table.
private struct L1Check {
    let file: any ImageFile
    let fileLength: Int64
    let geometry: TableGeometry
    let strictness: L1Table.Strictness

    /// - Parameter place: where the file has the entry, for messages.
    func entry(_ word: UInt64, at place: Int64) throws(StorageError) -> L1Entry {
        let entry: L1Entry
        do throws(EntryProblem) {
            entry = try L1Entry(word, geometry)
        } catch {
            throw problem(word, at: place, error.what)
        }
        let offset = entry.offset
        let end = offset + geometry.clusterSize
        switch strictness {
        case .writing:
            guard offset < fileLength else { throw problem(word, at: place, "") }
        case .reading(let regions):
            guard end <= fileLength else {
                throw problem(
                    word, at: place,
                    "an L2 table should be at \(offset), which is outside the file")
            }
            for region in regions where region.range.overlaps(offset..<end) {
                throw problem(
                    word, at: place,
                    "an L2 table should be at \(offset), which is in the \(region.what)")
            }
        }
        return entry
    }

    /// Who writes is told how the image can be repaired, and who reads what is wrong with it.
    private func problem(_ word: UInt64, at place: Int64, _ what: String) -> StorageError {
        switch strictness {
        case .writing: .damaged(file.path, at: place, "an L2 table can't be at \(word)")
        case .reading: .image(ImageProblem(.malformed, file.path, at: place, what))
        }
    }
}
