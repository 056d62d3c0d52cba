internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// What a block of the file is used for in one generation.
enum BlockUse: UInt8, Sendable {
    case free, superblock, directory, table, page
}

/// One generation of a store, read and checked: what counts, and which blocks it stands on.
struct Generation: Sendable {
    let superblock: Superblock
    let catalog: Catalog
    /// What is in the tables.
    let tables: TableCache
    /// The use of each block of the file up to `superblock.blockCount`.
    let uses: [BlockUse]
    /// Which of the two slots say so.
    let slots: [Bool]

    /// Reads the generation that counts, unless that is `known`.
    static func load(
        _ file: any StoreFile, known: Generation?
    ) throws(BitmapStoreError) -> Generation {
        let length = try file.length()
        let (superblock, slots) = try chooseSuperblock(file, length)
        if let known, known.superblock == superblock {
            return Generation(
                superblock: superblock, catalog: known.catalog, tables: known.tables,
                uses: known.uses, slots: slots)
        }
        let needed = Int64(superblock.blockCount) * Int64(blockBytes)
        guard length >= needed else {
            throw .truncated(path: file.path, length: length, needed: needed)
        }
        let catalog = try readCatalog(file, superblock)
        var walk = BlockWalk(file: file, superblock: superblock)
        try walk.visit(catalog)
        return Generation(
            superblock: superblock, catalog: catalog, tables: walk.tables, uses: walk.uses,
            slots: slots)
    }

    private static func chooseSuperblock(
        _ file: any StoreFile, _ length: Int64
    ) throws(BitmapStoreError) -> (Superblock, slots: [Bool]) {
        guard length >= Int64(Superblock.slotCount * blockBytes) else {
            try refuseShort(file, length)
        }
        let first = Superblock.decode(try file.read(at: 0, count: Superblock.byteCount))
        let second = Superblock.decode(
            try file.read(at: Int64(blockBytes), count: Superblock.byteCount))
        switch (first, second) {
        case (.unsupported(let what), _), (_, .unsupported(let what)):
            throw .unsupportedVersion(path: file.path, what: what)
        case (.valid(let first), .valid(let second)):
            guard first.uuid == second.uuid, first.deviceSize == second.deviceSize,
                first == second || first.generation != second.generation
            else {
                throw .damaged(
                    path: file.path, offset: 0, why: "its two superblocks contradict each other")
            }
            let found = first.generation < second.generation ? second : first
            return (found, [found == first, found == second])
        case (.valid(let found), .invalid): return (found, [true, false])
        case (.invalid, .valid(let found)): return (found, [false, true])
        case (.invalid(false, let why), .invalid(false, _)):
            throw .notAStore(path: file.path, why: why)
        case (.invalid(_, let why), .invalid(_, let other)):
            throw .damaged(
                path: file.path, offset: 0, why: "neither superblock is good (\(why); \(other))")
        }
    }

    private static func refuseShort(
        _ file: any StoreFile, _ length: Int64
    ) throws(BitmapStoreError) -> Never {
        let magic = Superblock.magic
        if length >= Int64(magic.count), try file.read(at: 0, count: magic.count) == magic {
            throw .truncated(path: file.path, length: length, needed: 3 * Int64(blockBytes))
        }
        throw .notAStore(path: file.path, why: "it has only \(length) bytes")
    }

    private static func readCatalog(
        _ file: any StoreFile, _ superblock: Superblock
    ) throws(BitmapStoreError) -> Catalog {
        let offset = Int64(superblock.directory.offset)
        let bytes = try file.read(at: offset, count: Int(superblock.directoryLength))
        guard xxHash64(bytes) == superblock.directory.checksum else {
            throw .damaged(
                path: file.path, offset: offset, why: "the directory's checksum is wrong")
        }
        let catalog: Catalog
        do throws(FieldError) {
            catalog = try Catalog(decoding: bytes, version: superblock.version)
        } catch {
            switch error {
            case .damaged(let why): throw .damaged(path: file.path, offset: offset, why: why)
            case .unsupported(let what): throw .unsupportedVersion(path: file.path, what: what)
            }
        }
        guard catalog.device.size == superblock.deviceSize else {
            throw .damaged(
                path: file.path, offset: offset,
                why: "superblock and directory name different sizes of the disk")
        }
        return catalog
    }
}

/// Follows every reference of a generation, and finds out which blocks are free by that.
struct BlockWalk {
    let file: any StoreFile
    private let directory: Reference
    private(set) var tables = TableCache()
    private(set) var uses: [BlockUse]

    init(file: any StoreFile, superblock: Superblock) {
        self.file = file
        directory = superblock.directory
        uses = Array(repeating: .free, count: Int(superblock.blockCount))
        for slot in 0..<Superblock.slotCount { uses[slot] = .superblock }
        let first = Int(superblock.directory.offset) / blockBytes
        let count = Int(superblock.directoryLength).dividedRoundingUp(by: blockBytes)
        for block in first..<first + count { uses[block] = .directory }
    }

    /// Forgets the free blocks at the end.
    mutating func cut(to count: Int) { uses.removeLast(uses.count - count) }

    /// - Parameter known: tables whose content need not be read again.
    mutating func visit(
        _ catalog: Catalog, known: TableCache = TableCache()
    ) throws(BitmapStoreError) {
        for tree in catalog.trees {
            for (index, table) in tree.tables.enumerated() {
                try visit(table, count: tree.layout.pages(ofTable: index).count, known: known)
            }
        }
    }

    private mutating func visit(
        _ table: Reference, count: Int, known: TableCache
    ) throws(BitmapStoreError) {
        let at = Int64(directory.offset)
        guard try use(table, as: .table, saidAt: at) else { return }
        let isNew = tables[table] == nil
        let references: [Reference]
        if let found = tables[table] {
            references = found
        } else {
            references = try known.read(table, file)
            tables.keep(references, of: table)
        }
        guard references.dropFirst(count).allSatisfy({ $0 == .clean }) else {
            throw .damaged(
                path: file.path, offset: Int64(table.offset),
                why: "a table has more pages than its bitmap")
        }
        guard isNew else { return }
        for page in references.prefix(count) {
            _ = try use(page, as: .page, saidAt: Int64(table.offset))
        }
    }

    /// - Returns: whether there is a block.
    private mutating func use(
        _ reference: Reference, as use: BlockUse, saidAt offset: Int64
    ) throws(BitmapStoreError) -> Bool {
        guard reference.isStored else {
            guard reference.checksum == 0 else {
                throw .damaged(
                    path: file.path, offset: offset, why: "a reference to nothing has a checksum")
            }
            return false
        }
        let block = reference.offset / UInt64(blockBytes)
        guard reference.offset % UInt64(blockBytes) == 0, block < UInt64(uses.count) else {
            throw .damaged(
                path: file.path, offset: offset,
                why: "a reference leads to offset \(reference.offset), where no block can be")
        }
        guard uses[Int(block)] == .free || uses[Int(block)] == use else {
            throw .damaged(
                path: file.path, offset: offset,
                why: "the block at offset \(reference.offset) is used for two things")
        }
        uses[Int(block)] = use
        return true
    }
}
