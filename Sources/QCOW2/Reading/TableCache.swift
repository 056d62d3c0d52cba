package import BlockStorage
internal import Synchronization
internal import SystemPackage

/// The L2 tables of one image that were asked for last, as numbers of this machine.
///
/// Any thread may ask. Tables are read outside the lock: two threads may read the same one, and
/// neither waits for the other's disk.
package final class TableCache: Sendable {
    /// Tables that are kept.
    package let capacity: Int

    private let file: any ImageFile
    private let tableBytes: Int
    private let kept: Mutex<RecentTables>

    /// How much is read at once where tables lie side by side.
    private static let batchBytesMax = 256 << 10

    /// The most tables that one read may bring.
    let batchMax: Int

    package init(file: any ImageFile, tableBytes: Int, bytes: Int = 32 << 20) {
        self.file = file
        self.tableBytes = tableBytes
        capacity = max(2, bytes / tableBytes)
        batchMax = max(1, min(capacity / 2, Self.batchBytesMax / tableBytes))
        kept = Mutex(RecentTables(capacity: max(2, bytes / tableBytes)))
    }

    /// The table at an offset of the file.
    ///
    /// - Parameter following: how many tables directly behind it are likely to be asked for next.
    package func table(at offset: Int64, following: Int = 0) throws(StorageError) -> [UInt64] {
        if let words = kept.withLock({ $0.find(offset) }) { return words }
        let count = 1 + max(0, min(following, batchMax - 1))
        let bytes = try file.read(at: offset, count: count * tableBytes)
        guard bytes.count >= tableBytes else {
            throw .image(
                ImageProblem(.malformed, file.path, at: offset, "the file ends in an L2 table"))
        }
        let words = bytes.bigEndianWords()
        let perTable = tableBytes / 8
        let whole = words.count / perTable
        guard whole > 1 else {
            kept.withLock { $0.insert(offset, words) }
            return words
        }
        let first = Array(words[..<perTable])
        kept.withLock { kept in
            // The one that was asked for comes last, so that no other drives it out.
            for index in (1..<whole).reversed() {
                let place = offset + Int64(index * tableBytes)
                guard !kept.has(place) else { continue }
                kept.insert(place, Array(words[(index * perTable)..<((index + 1) * perTable)]))
            }
            kept.insert(offset, first)
        }
        return first
    }

    /// Forgets a table that has changed in the file.
    package func forget(_ offset: Int64) { kept.withLock { $0.remove(offset) } }
}

/// Tables by offset, linked from the one used last to the one unused longest.
private struct RecentTables {
    private struct Slot {
        var offset: Int64
        var words: [UInt64]
        var newer: Int
        var older: Int
    }

    private let capacity: Int
    private var slots: [Slot] = []
    private var indices: [Int64: Int] = [:]
    private var newest = -1
    private var oldest = -1

    init(capacity: Int) { self.capacity = capacity }

    func has(_ offset: Int64) -> Bool { indices[offset] != nil }

    mutating func find(_ offset: Int64) -> [UInt64]? {
        guard let index = indices[offset] else { return nil }
        if index != newest {
            unlink(index)
            linkAsNewest(index)
        }
        return slots[index].words
    }

    mutating func insert(_ offset: Int64, _ words: [UInt64]) {
        if let index = indices[offset] {
            slots[index].words = words
            unlink(index)
            linkAsNewest(index)
        } else if slots.count < capacity {
            slots.append(Slot(offset: offset, words: words, newer: -1, older: -1))
            indices[offset] = slots.count - 1
            linkAsNewest(slots.count - 1)
        } else {
            let index = oldest
            indices[slots[index].offset] = nil
            unlink(index)
            slots[index].offset = offset
            slots[index].words = words
            indices[offset] = index
            linkAsNewest(index)
        }
    }

    /// The slot stays, as the first to be used again, under an offset that nobody asks for.
    mutating func remove(_ offset: Int64) {
        guard let index = indices.removeValue(forKey: offset) else { return }
        unlink(index)
        slots[index].offset = -1 - Int64(index)
        slots[index].words = []
        indices[slots[index].offset] = index
        slots[index].newer = oldest
        slots[index].older = -1
        if oldest >= 0 { slots[oldest].older = index }
        oldest = index
        if newest < 0 { newest = index }
    }

    private mutating func unlink(_ index: Int) {
        let (newer, older) = (slots[index].newer, slots[index].older)
        if newer >= 0 { slots[newer].older = older } else { newest = older }
        if older >= 0 { slots[older].newer = newer } else { oldest = newer }
    }

    private mutating func linkAsNewest(_ index: Int) {
        slots[index].newer = -1
        slots[index].older = newest
        if newest >= 0 { slots[newest].newer = index }
        newest = index
        if oldest < 0 { oldest = index }
    }
}
