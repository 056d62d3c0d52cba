internal import DirtyBitmap
internal import SystemPackage

/// The making of the next generation, under the exclusive lock.
///
/// Blocks are written as they come, into places that the current generation does not refer to;
/// whoever drops a transaction without `commit` has changed nothing.
struct Transaction {
    let file: any StoreFile
    let base: Generation
    /// Seconds since 1970.
    let now: Int64
    /// What the next generation will say.
    var catalog: Catalog
    private(set) var tables: TableCache
    private var isFree: [Bool]
    private var firstFree = Superblock.slotCount
    /// Which slots have the superblock of the current generation for sure, in the file and on the
    /// disk.
    private var slots: [Bool]

    /// - Parameter isUncertain: the disk may have something else in the first slot than the file
    ///   seems to have, because the last commit failed halfway.
    init(file: any StoreFile, base: Generation, now: Int64, isUncertain: Bool) {
        self.file = file
        self.base = base
        self.now = now
        catalog = base.catalog
        tables = base.tables
        isFree = base.uses.map { $0 == .free }
        slots = isUncertain ? [false, true] : base.slots
    }

    var reader: BitReader { BitReader(file: file, tables: tables) }

    /// Writes a block and says where it is.
    mutating func write(_ block: [UInt8]) throws(BitmapStoreError) -> Reference {
        let offset = try allocate(1)
        try file.write(block, at: Int64(offset))
        return Reference(offset: offset, checksum: xxHash64(block))
    }

    mutating func write(table: [Reference]) throws(BitmapStoreError) -> Reference {
        var block: [UInt8] = []
        block.reserveCapacity(blockBytes)
        for reference in table {
            block.append(littleEndian: reference.offset)
            block.append(littleEndian: reference.checksum)
        }
        block += Array(repeating: 0, count: blockBytes - block.count)
        let reference = try write(block)
        let empty = BitLayout.pagesPerTable - table.count
        tables.keep(table + Array(repeating: .clean, count: empty), of: reference)
        return reference
    }

    /// - Returns: the offset of `count` blocks in a row that nothing refers to.
    private mutating func allocate(_ count: Int) throws(BitmapStoreError) -> UInt64 {
        try settle()
        while firstFree < isFree.count, !isFree[firstFree] { firstFree += 1 }
        var start = firstFree
        var end = start
        while end - start < count {
            if end == isFree.count {
                guard end < Int(Superblock.blockCountMax) else {
                    throw .tooManyBitmaps(
                        path: file.path, limit: Int(Superblock.blockCountMax) * blockBytes)
                }
                isFree.append(true)
            }
            end += 1
            if !isFree[end - 1] { start = end }
        }
        for block in start..<end { isFree[block] = false }
        return UInt64(start) * UInt64(blockBytes)
    }

    /// Makes sure of the current generation, if that need be, before a block is reused that another
    /// one needs which the disk may hold instead.
    ///
    /// A process that died may have written the slot that counts and never synced it; and after a
    /// sync that failed, the kernel takes for written what is not. Slots that are equal promise to
    /// whoever comes next that neither is so: the disk has this generation in one of them, and no
    /// newer one in the other. So they are made equal only when that is true, and each step may be
    /// the last one.
    mutating func settle() throws(BitmapStoreError) {
        guard let right = slots.firstIndex(of: true), slots.contains(false) else { return }
        try write(slot: right)
        try file.sync()
        try spoil(slot: 1 - right)
        try file.sync()
        try write(slot: 1 - right)
        try file.sync()
        slots = [true, true]
    }

    /// Writes the superblock of the current generation.
    private func write(slot: Int) throws(BitmapStoreError) {
        try file.write(base.superblock.encoded(), at: Int64(slot * blockBytes))
    }

    /// Makes a slot one that does not count.
    private func spoil(slot: Int) throws(BitmapStoreError) {
        let nothing = Array(repeating: 0 as UInt8, count: Superblock.byteCount)
        try file.write(nothing, at: Int64(slot * blockBytes))
    }

    /// Makes the next generation the one that counts.
    ///
    /// - Throws: an error after which the current generation still counts, as far as the file
    ///   could be brought back to it.
    mutating func commit() throws(CommitFailure) -> Generation {
        let superblock: Superblock
        let walk: BlockWalk
        do throws(BitmapStoreError) {
            (superblock, walk) = try writeDirectory()
            // It is there already. But the sync after that which wrote it may have failed, and then
            // no other one would write it; and it must be on the disk while the first one changes.
            try write(slot: 1)
            try file.sync()
        } catch {
            throw CommitFailure(error: error, isUncertain: false)
        }
        let bytes = superblock.encoded()
        do throws(BitmapStoreError) {
            try file.write(bytes, at: 0)
            try file.sync()
        } catch {
            // It may or may not have reached the disk; the old one has to.
            throw CommitFailure(error: error, isUncertain: !bringBack())
        }
        // From here on the generation counts. The second slot and the length are cared for by the
        // next transaction, if they fail.
        let second: Void? = try? file.write(bytes, at: Int64(blockBytes))
        trim(superblock)
        return Generation(
            superblock: superblock, catalog: catalog, tables: walk.tables, uses: walk.uses,
            slots: [true, second != nil])
    }

    /// - Returns: whether the current generation counts again, for sure.
    private mutating func bringBack() -> Bool {
        slots = [false, true]
        do throws(BitmapStoreError) {
            try settle()
            return true
        } catch {
            // Whoever comes next sees that there is something to settle.
            try? spoil(slot: 0)
            return false
        }
    }

    private mutating func writeDirectory() throws(BitmapStoreError) -> (Superblock, BlockWalk) {
        let directory = catalog.encoded()
        guard directory.count <= Int(Superblock.directoryLengthMax) else {
            throw .tooManyBitmaps(path: file.path, limit: Int(Superblock.directoryLengthMax))
        }
        try requireReadable(directory)
        let blocks = directory.count.dividedRoundingUp(by: blockBytes)
        let offset = try allocate(blocks)
        let padding = blocks * blockBytes - directory.count
        try file.write(directory + Array(repeating: 0, count: padding), at: Int64(offset))
        var superblock = base.superblock
        superblock.version = Superblock.version
        superblock.generation += 1
        superblock.directory = Reference(offset: offset, checksum: xxHash64(directory))
        superblock.directoryLength = UInt64(directory.count)
        superblock.blockCount = UInt64(isFree.count)
        var walk = BlockWalk(file: file, superblock: superblock)
        try walk.visit(catalog, known: tables)
        // Blocks at the end may have been needed by the last generation alone.
        let used = (walk.uses.lastIndex { $0 != .free } ?? 0) + 1
        superblock.blockCount = UInt64(used)
        walk.cut(to: used)
        guard Superblock.decode(superblock.encoded()) == .valid(superblock) else {
            throw .unwritable(path: file.path, why: "its superblock would be refused")
        }
        return (superblock, walk)
    }

    /// Refuses what would be refused, or would be something else, when it is read: everything that
    /// the store knows would be lost.
    private func requireReadable(_ directory: [UInt8]) throws(BitmapStoreError) {
        do throws(FieldError) {
            guard try Catalog(decoding: directory) != catalog else { return }
        } catch {
            let why =
                switch error {
                case .damaged(let why), .unsupported(let why): why
                }
            throw .unwritable(path: file.path, why: why)
        }
        throw .unwritable(path: file.path, why: "it would be read as something else")
    }

    /// Gives space back to the filesystem once most of the file is unused; some is kept, so that a
    /// full filesystem does not keep a job from its next checkpoint.
    private func trim(_ superblock: Superblock) {
        guard let length = try? file.length() else { return }
        let used = Int64(superblock.blockCount) * Int64(blockBytes)
        if length > 2 * used + Self.slackBytes { try? file.truncate(to: used + Self.slackBytes) }
    }

    private static let slackBytes = Int64(64 * blockBytes)
}

/// Why a commit did not happen.
struct CommitFailure: Error {
    let error: BitmapStoreError
    /// Whether the disk may hold the new generation in spite of that, and the file may not show it.
    let isUncertain: Bool
}
