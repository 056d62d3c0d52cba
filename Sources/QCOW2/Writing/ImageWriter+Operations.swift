package import BlockStorage
internal import Synchronization

/// Changes of an image as a whole. No `QCOW2Target` may be open over it.
extension ImageWriter {
    /// Changes which image is below; nil for none. The bytes of the disk are not looked at: whoever
    /// calls knows that they are the same, or are to be others.
    package func setBacking(file name: String?, format: String?) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.prepare()
            var changed = state.header
            if let name {
                let length = name.utf8.count
                guard (1...Header.backingNameMax).contains(length), !name.utf8.contains(0) else {
                    throw .image(
                        ImageProblem(
                            .unsupported, file.path,
                            "the backing file's name can't have \(length) bytes"))
                }
            }
            changed.backingFile = name
            changed.set(.backingFormat, name == nil ? nil : format.map { Array($0.utf8) })
            try state.replaceHeader(changed)
        }
    }

    /// Makes room in the tables for a disk of so many bytes, which it does not become yet.
    package func makeRoom(for size: Int64) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in try state.makeRoom(for: size) }
    }

    /// Makes the disk larger. What is new and unallocated reads as zeros, or as what a larger image
    /// below has there.
    package func resize(to size: Int64) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.makeRoom(for: size)
            guard size > state.header.size else { return }
            try state.prepare()
            var changed = state.header
            changed.size = size
            try state.replaceHeader(changed)
        }
    }

    /// Takes everything out of the image, so that it reads as what is below, or as zeros. Snapshots
    /// keep what they share with it.
    package func makeEmpty() throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            // What its entries lead to is in another file, and counted nowhere.
            guard !state.header.incompatible.contains(.dataFile) else {
                throw .image(
                    ImageProblem(
                        .unsupported, file.path, at: 72,
                        "an image whose data is in a file of its own can't be emptied",
                        remedy: "\(.keepOverlay)."))
            }
            try state.prepare()
            let l1 = try L1Table.read(of: state.header, in: file, strictness: .writing)
            var start = 0
            while start < l1.count {
                let end = min(l1.count, start + Self.tablesAtOnce)
                try state.discard(l1, start..<end)
                start = end
            }
            try state.refcounts.flush()
            try file.sync()
        }
        try truncate(floor: 0)
        try file.sync()
    }

    /// Between the steps there are flushes.
    private static let tablesAtOnce = 4096
}

extension WriterState {
    fileprivate mutating func makeRoom(for size: Int64) throws(StorageError) {
        guard size >= header.size else {
            throw .image(
                ImageProblem(
                    .unsupported, file.path,
                    "a disk of \(header.size) bytes can't be made smaller here"))
        }
        guard size <= Header.l1BytesMax / 8 * header.l2Coverage else {
            throw .image(
                ImageProblem(
                    .full, file.path, "the disk can't have \(size) bytes",
                    remedy: "Larger clusters allow more."))
        }
        var larger = header
        larger.size = size
        guard larger.l1EntriesNeeded > header.l1EntryCount else { return }
        try prepare()
        try moveL1(entries: larger.l1EntriesNeeded)
    }

    /// Makes a larger L1 table. The old one stays until the header that leads to the new one is on
    /// stable storage.
    fileprivate mutating func moveL1(entries: Int) throws(StorageError) {
        let bits = Int64(header.clusterBits)
        let old = (offset: header.l1Offset, count: header.l1EntryCount)
        var words = try L1Table.read(of: header, in: file, strictness: .writing).map(\.encoded)
        let clusters = header.clusters(forEntries: entries)
        let place = try refcounts.allocate(exactly: clusters, &header)
        words += [UInt64](repeating: 0, count: clusters << (header.clusterBits - 3) - words.count)
        let offset = place.lowerBound << bits
        try file.write(words.bigEndianBytes(), at: offset)
        refcounts.occupy(offset: offset, clusters: clusters)
        try refcounts.flush()
        var changed = header
        changed.l1Offset = offset
        changed.l1EntryCount = entries
        try replaceHeader(changed)
        guard old.count > 0 else { return }
        let oldClusters = header.clusters(forEntries: old.count)
        refcounts.vacate(offset: old.offset, clusters: oldClusters)
        try refcounts.release(header.clusters(at: old.offset, count: oldClusters))
        try refcounts.flush()
        try file.sync()
    }

    /// Forgets what entries of the L1 table lead to, and then counts it off: each cluster once, for
    /// a cluster counts as often as there are ways to it from an L1 table.
    fileprivate mutating func discard(
        _ l1: [L1Entry], _ entries: Range<Int>
    ) throws(StorageError) {
        guard l1[entries].contains(where: { $0 != .none }) else { return }
        // Tables that can't be read must not be forgotten.
        let geometry = TableGeometry(header)
        for index in entries where l1[index] != .none {
            _ = try references(l1[index], geometry)
        }
        try file.write(
            [UInt8](repeating: 0, count: entries.count * 8),
            at: header.l1Offset + Int64(entries.lowerBound) * 8)
        try file.sync()
        for entry in l1[entries] where entry != .none {
            for drop in try references(entry, geometry) {
                try refcounts.release(header.clusters(at: drop.offset, count: drop.count))
            }
            refcounts.vacate(offset: entry.offset, clusters: 1)
            try refcounts.release(header.clusters(at: entry.offset, count: 1))
        }
    }

    /// What an L2 table refers to.
    private func references(
        _ entry: L1Entry, _ geometry: TableGeometry
    ) throws(StorageError) -> [HostClusters] {
        let offset = entry.offset
        let bytes = try file.readFilled(at: offset, count: Int(header.clusterSize))
        let table = TargetTable(words: bytes.bigEndianWords(), host: offset, shared: 0)
        var found: [HostClusters] = []
        for index in 0..<geometry.entriesPerTable {
            do throws(EntryProblem) {
                let state = try table.entry(index, geometry).state
                if let clusters = HostClusters(state, geometry) { found.append(clusters) }
            } catch {
                throw .damaged(
                    file.path, at: offset + geometry.byteOffset(of: index), error.what)
            }
        }
        return found
    }
}
