package import BlockStorage

extension NewImageOptions {
    /// Writes a new image into a file that is empty, or over a disk. It is on stable storage when
    /// this returns.
    ///
    /// The header comes last: what is left of an image whose making was interrupted has none, or
    /// one of an empty disk.
    ///
    /// - Returns: its header.
    package func create(in file: any ImageFile) throws(StorageError) -> Header {
        var maker = try ImageMaker(options: self, file: file)
        return try maker.make()
    }
}

/// Makes one image.
private struct ImageMaker {
    private let options: NewImageOptions
    private let file: any ImageFile
    private var header: Header
    /// An empty disk with the same refcounts, for while they grow.
    private var draft: Header
    private var refcounts: Refcounts
    /// A disk has something where a file has zeros.
    private let isZero: Bool

    init(options: NewImageOptions, file: any ImageFile) throws(StorageError) {
        self.options = options
        self.file = file
        header = try options.header(for: file.path)
        // Too long a name shows before anything is written.
        _ = try header.encoded(for: file.path)
        draft = header
        draft.size = 0
        draft.l1EntryCount = 0
        isZero = try file.length() == 0
        refcounts = try Refcounts(
            file: file, clusterBits: header.clusterBits, order: header.refcountOrder)
    }

    mutating func make() throws(StorageError) -> Header {
        if !isZero {
            try file.write([UInt8](repeating: 0, count: Int(header.clusterSize)), at: 0)
            try file.sync()
        }
        try refcounts.bootstrap(&draft)
        let l1Clusters = header.clusters(forEntries: header.l1EntryCount)
        var l1 = [UInt64](repeating: 0, count: l1Clusters << (header.clusterBits - 3))
        if l1Clusters > 0 {
            let place = try refcounts.allocate(exactly: l1Clusters, &draft)
            header.l1Offset = place.lowerBound << Int64(header.clusterBits)
        }
        if options.preallocatesMetadata { try allocateAll(&l1) }
        if l1Clusters > 0 { try file.write(l1.bigEndianBytes(), at: header.l1Offset) }
        try refcounts.flush()
        let end = refcounts.freshFrom << Int64(header.clusterBits)
        if isZero, try file.length() < end { try file.resize(to: end) }
        try file.sync()
        header.refcountTableOffset = draft.refcountTableOffset
        header.refcountTableClusters = draft.refcountTableClusters
        try file.write(try header.encoded(for: file.path), at: 0)
        try file.sync()
        return header
    }

    /// Gives every cluster of the disk its place. In a file that is a hole; what held something
    /// before, as on a disk, has an entry that says it reads as zeros.
    private mutating func allocateAll(_ l1: inout [UInt64]) throws(StorageError) {
        let geometry = TableGeometry(header)
        let bits = Int64(header.clusterBits)
        var left = Int64(header.clusters(for: header.size))
        for index in 0..<header.l1EntryCount {
            let table = try refcounts.allocate(exactly: 1, &draft).lowerBound << bits
            l1[index] = L1Entry(offset: table, isCopied: true).encoded
            var words: [UInt64] = []
            let count = Int(min(left, Int64(geometry.entriesPerTable)))
            left -= Int64(count)
            while words.count < count * geometry.wordsPerEntry {
                let most = count - words.count / geometry.wordsPerEntry
                let fresh = refcounts.freshFrom
                for cluster in try refcounts.allocate(upTo: most, &draft) {
                    let entry = entry(cluster << bits, isZero: isZero && cluster >= fresh)
                    let encoded = entry.encoded(geometry)
                    words.append(encoded.word)
                    if geometry.hasSubclusters { words.append(encoded.bitmap) }
                }
            }
            words += [UInt64](repeating: 0, count: geometry.wordsPerTable - words.count)
            try file.write(words.bigEndianBytes(), at: table)
        }
    }

    private func entry(_ host: Int64, isZero: Bool) -> L2Entry {
        if header.hasSubclusters {
            // Parts that are not there read as zeros too, if there is nothing below.
            return L2Entry(.subclusters(host: host, allocated: 0, zero: 0), isCopied: true)
        }
        return L2Entry(isZero ? .data(host: host) : .zero(host: host), isCopied: true)
    }
}
