internal import BlockStorage
internal import SystemPackage

/// Looks, before an image is written, whether its refcounts and its tables agree as far as whoever
/// writes it relies on them.
///
/// Found is a cluster that is in use more often than it is counted, data or a table that lies over
/// a table, an entry that allows writing in place what something else uses too, and a table that
/// can't be read. Clusters that are counted more often than they are used are leaks, and pass.
///
/// Complexity: reads all tables once, those of snapshots too; see `ClusterLedger` for the memory.
struct ImageCheck {
    private let header: Header
    private let file: any ImageFile
    private let fileLength: Int64
    private let geometry: TableGeometry
    private var ledger: ClusterLedger
    private let refcounts: Refcounts

    init(
        _ header: Header, _ file: any ImageFile, _ refcounts: Refcounts
    ) throws(StorageError) {
        self.header = header
        self.file = file
        self.refcounts = refcounts
        fileLength = try file.length()
        geometry = TableGeometry(header)
        ledger = ClusterLedger(refcounts)
    }

    /// - Throws: the first contradiction that was found, as an `ImageProblem`.
    mutating func run(brokenBitmaps: ImageWriter.BrokenBitmaps) throws(StorageError) {
        try claim(0, "the header")
        try claim(
            header.refcountTableOffset, clusters: header.refcountTableClusters,
            "the refcount table")
        for offset in refcounts.table where offset != 0 { try claim(offset, "a refcount block") }
        if header.l1EntryCount > 0 {
            try claimL1(header.l1Offset, header.l1EntryCount, "the L1 table")
        }
        let snapshots = try claimSnapshots()
        try claimBitmaps(brokenBitmaps)
        let tables = try L2References(header, file, snapshots).sorted()
        for table in tables { try claim(table) }
        // In a data file nothing is counted, and nothing of it is written: only bitmaps change.
        guard !geometry.hasDataFile else { return }
        try walk(tables)
    }

    // MARK: Tables

    private mutating func claim(
        _ offset: Int64, clusters: Int = 1, _ what: @autoclosure () -> String
    ) throws(StorageError) {
        for cluster in header.clusters(at: offset, count: clusters) {
            if let contradiction = try ledger.claim(cluster) {
                throw report(contradiction, cluster, what(), at: nil)
            }
        }
    }

    private mutating func claim(_ table: L2References.Table) throws(StorageError) {
        let cluster = table.offset >> Int64(header.clusterBits)
        if let contradiction = try ledger.claim(
            cluster, times: table.references, isExclusive: table.isExclusive)
        {
            throw report(contradiction, cluster, "an L2 table", at: nil)
        }
    }

    private mutating func claimL1(
        _ offset: Int64, _ entries: Int, _ what: @autoclosure () -> String
    ) throws(StorageError) {
        try claim(offset, clusters: header.clusters(forEntries: entries), what())
    }

    private mutating func claimSnapshots() throws(StorageError) -> [ImageSnapshot] {
        guard header.snapshotCount > 0 else { return [] }
        let table = try SnapshotTable(header, in: file)
        try claim(
            header.snapshotsOffset, clusters: header.clusters(for: table.length),
            "the snapshot table")
        if let short = table.snapshots.first(where: { $0.size == nil }), header.version >= 3 {
            throw damaged(
                header.snapshotsOffset,
                "the entry of snapshot '\(short.name)' does not say the size of its disk")
        }
        for snapshot in table.snapshots where snapshot.l1EntryCount > 0 {
            let what = "the L1 table of snapshot '\(snapshot.name)'"
            guard snapshot.l1Offset & (header.clusterSize - 1) == 0,
                snapshot.l1Offset >= header.clusterSize, snapshot.l1Offset < fileLength,
                Int64(snapshot.l1EntryCount) * 8 <= Header.l1BytesMax
            else {
                throw damaged(
                    header.snapshotsOffset,
                    "\(what) can't have \(snapshot.l1EntryCount) entries at \(snapshot.l1Offset)")
            }
            try claimL1(snapshot.l1Offset, snapshot.l1EntryCount, what)
        }
        return table.snapshots
    }

    private mutating func claimBitmaps(_ broken: ImageWriter.BrokenBitmaps) throws(StorageError) {
        let directory = try BitmapDirectory.read(header, file)
        // What is out of date is passed over by everybody, and leaks.
        guard !directory.isStale, directory.byteCount > 0 || directory.flaw != nil else { return }
        if let flaw = directory.flaw {
            guard broken == .passed else { throw .image(flaw) }
            return
        }
        try claim(
            directory.offset, clusters: header.clusters(for: directory.byteCount),
            "the directory of bitmaps")
        for entry in directory.entries {
            do throws(StorageError) {
                try claim(entry)
            } catch .image(let problem) where broken == .passed && !problem.isContradiction {
                continue
            }
        }
    }

    private mutating func claim(_ entry: BitmapEntry) throws(StorageError) {
        if let flaw = entry.flaw {
            // What a later version has brought is left as it is.
            guard flaw.kind == .malformed else { return }
            throw .image(flaw)
        }
        let table = try BitmapTable.read(of: entry, header, file)
        let what = "bitmap '\(entry.shownName)'"
        try claim(
            Int64(entry.tableOffset), clusters: header.clusters(forEntries: table.entries.count),
            "the table of \(what)")
        for word in table.entries {
            if let offset = BitmapTable.cluster(word) { try claim(offset, what) }
        }
    }

    // MARK: Data

    /// L2 tables side by side are read at once.
    private static let batchBytesMax = 1 << 20

    private mutating func walk(_ tables: [L2References.Table]) throws(StorageError) {
        let tablesMax = max(1, Self.batchBytesMax >> header.clusterBits)
        var start = 0
        while start < tables.count {
            var end = start + 1
            while end < tables.count, end - start < tablesMax,
                tables[end].offset == tables[end - 1].offset + header.clusterSize
            {
                end += 1
            }
            let words = try file.readFilled(
                at: tables[start].offset, count: (end - start) << header.clusterBits
            ).bigEndianWords()
            for index in start..<end {
                try walk(tables[index], words, from: (index - start) * geometry.wordsPerTable)
            }
            start = end
        }
    }

    private mutating func walk(
        _ table: L2References.Table, _ words: [UInt64], from first: Int
    ) throws(StorageError) {
        let step = geometry.wordsPerEntry
        let plain = EntryBits.copied | EntryBits.offset & ~geometry.misaligned
        let bits = Int64(header.clusterBits)
        for index in stride(from: first, to: first + geometry.wordsPerTable, by: step) {
            let word = words[index]
            if word == 0, step == 1 || words[index + 1] == 0 { continue }
            let place = { table.offset + Int64(index - first) * 8 }
            if word & ~plain == 0, step == 1, word & EntryBits.offset != 0 {
                let host = Int64(word & EntryBits.offset)
                let isCopied = word & EntryBits.copied != 0
                guard host < fileLength else { throw outside(host, place()) }
                let found = try ledger.refer(
                    to: host >> bits, times: table.references,
                    isExclusive: isCopied && table.isActive)
                if let found { throw report(found, host >> bits, "data", at: place()) }
                continue
            }
            try walkOther(table, word, step == 1 ? 0 : words[index + 1], at: place())
        }
    }

    /// An entry of any kind: compressed, zero, or with subclusters.
    private mutating func walkOther(
        _ table: L2References.Table, _ word: UInt64, _ bitmap: UInt64, at place: Int64
    ) throws(StorageError) {
        let entry: L2Entry
        do throws(EntryProblem) {
            entry = try L2Entry(word, bitmap: bitmap, geometry)
        } catch {
            throw damaged(place, error.what)
        }
        guard let clusters = HostClusters(entry.state, geometry) else { return }
        // The last cluster of a file need not be whole.
        let end = clusters.offset + Int64(clusters.count) * header.clusterSize
        guard end - fileLength < header.clusterSize else { throw outside(clusters.offset, place) }
        for cluster in header.clusters(at: clusters.offset, count: clusters.count) {
            let found = try ledger.refer(
                to: cluster, times: table.references,
                isExclusive: entry.isCopied && table.isActive)
            if let found { throw report(found, cluster, "data", at: place) }
        }
    }

    // MARK: Problems

    private func report(
        _ contradiction: ClusterLedger.Contradiction, _ cluster: Int64, _ what: String,
        at place: Int64?
    ) -> StorageError {
        let offset = cluster << Int64(header.clusterBits)
        let clause =
            switch contradiction {
            case .countTooLow:
                "\(what) is there, and the cluster is counted as free or as used less often"
            case .overTable: "\(what) lies over a table of the image"
            case .notExclusive:
                "\(what) is marked as used by nothing else, and something else uses the cluster or "
                    + "is counted there"
            }
        let source = place.map { " (by the entry at \($0))" } ?? ""
        return .image(
            ImageProblem(
                .refused, file.path, at: offset, clause + source,
                remedy: StorageError.damageRemedy(file.path)))
    }

    private func outside(_ host: Int64, _ place: Int64) -> StorageError {
        damaged(place, "data should be at \(host), and the file has \(fileLength) bytes")
    }

    private func damaged(_ offset: Int64, _ what: String) -> StorageError {
        .damaged(file.path, at: offset, what)
    }
}

extension ImageProblem {
    /// Whether a writer would harm something that can be read.
    fileprivate var isContradiction: Bool { kind == .refused }
}
