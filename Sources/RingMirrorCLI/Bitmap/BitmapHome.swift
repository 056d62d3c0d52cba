import RingMirror

/// Where the bitmaps of a disk are kept: in a store, or in the qcow2 image itself.
///
/// What a command does with bitmaps it does here, so that it is the same for both.
enum BitmapHome {
    case store(BitmapStore)
    /// `records` is the store beside the image, if there is one: it knows the targets and the
    /// interrupted jobs of the image's bitmaps, and has to hear of what becomes of them.
    case image(ImageBitmaps, records: BitmapStore?)

    /// The file that has the bitmaps.
    var path: FilePath {
        switch self {
        case .store(let store): store.path
        case .image(let bitmaps, _): bitmaps.path
        }
    }

    func bitmaps() throws(MirrorError) -> [BitmapFacts] {
        try attempt { (store) throws(BitmapStoreError) in
            try store.bitmaps().map { BitmapFacts($0) }
        } image: { (image) throws(StorageError) in
            try image.list().bitmaps.map { BitmapFacts($0) }
        }
    }

    func bitmap(_ name: String) throws(MirrorError) -> BitmapFacts {
        try attempt { (store) throws(BitmapStoreError) in
            BitmapFacts(try store.bitmap(name))
        } image: { (image) throws(StorageError) in
            BitmapFacts(try image.bitmap(name))
        }
    }

    /// Jobs that run or can be resumed.
    func jobs() throws(MirrorError) -> [StoredJob] {
        try recording { (records) throws(BitmapStoreError) in try records.jobs() } ?? []
    }

    func load(_ name: String) throws(MirrorError) -> DirtyBitmap {
        try attempt { (store) throws(BitmapStoreError) in
            try store.load(name)
        } image: { (image) throws(StorageError) in
            try image.load(name)
        }
    }

    /// - Parameter bits: what is dirty; nil: nothing.
    func add(
        _ name: String, _ granularity: Granularity, disabled: Bool = false,
        bits: borrowing DirtyBitmap? = nil
    ) throws(MirrorError) {
        switch self {
        case .store(let store):
            do throws(BitmapStoreError) {
                try store.add(name, granularity: granularity, disabled: disabled, bits: bits)
            } catch {
                // It may have been made for this bitmap alone.
                _ = try? store.removeFileIfEmpty()
                throw .store(error)
            }
        case .image(let image, _):
            do throws(StorageError) {
                try image.add(name, granularity: granularity, disabled: disabled, bits: bits)
            } catch {
                throw .storage(error)
            }
        }
    }

    /// - Returns: the jobs that can't be resumed any more.
    func remove(_ name: String) throws(MirrorError) -> [StoredJob] {
        try attempt { (store) throws(BitmapStoreError) in
            let forgotten = try store.remove(name)
            try store.removeFileIfEmpty()
            return forgotten
        } image: { (image) throws(StorageError) in
            try image.remove(name)
            return []
        } records: { (records) throws(BitmapStoreError) in
            let forgotten = try records.forget(imageBitmap: name)
            try records.removeFileIfEmpty()
            return forgotten
        }
    }

    /// - Returns: the jobs that can't be resumed any more.
    func clear(_ name: String) throws(MirrorError) -> [StoredJob] {
        // What the targets lack is kept before the marks are gone.
        var forgotten: [StoredJob] = []
        if case .image(let image, let records?) = self {
            let marks = try attempt(
                store: { (store) throws(BitmapStoreError) in try store.load(name) },
                image: { (_) throws(StorageError) in try image.load(name) })
            do throws(BitmapStoreError) {
                forgotten = try records.willClear(imageBitmap: name, marks: marks)
            } catch {
                throw .store(error)
            }
        }
        return try forgotten
            + attempt { (store) throws(BitmapStoreError) in
                try store.clear(name)
            } image: { (image) throws(StorageError) in
                try image.clear(name)
                return []
            }
    }

    func setRecording(_ name: String, _ isRecording: Bool) throws(MirrorError) {
        try attempt { (store) throws(BitmapStoreError) in
            try store.setRecording(name, isRecording)
        } image: { (image) throws(StorageError) in
            try image.setRecording(name, isRecording)
        } records: { (records) throws(BitmapStoreError) in
            if !isRecording { try records.noteUnrecorded(imageBitmap: name) }
        }
    }

    func merge(into name: String, from names: [String]) throws(MirrorError) {
        try attempt { (store) throws(BitmapStoreError) in
            try store.merge(into: name, from: names)
        } image: { (image) throws(StorageError) in
            try image.merge(into: name, from: names)
        }
    }

    /// Marks ranges of bytes.
    func mark(_ name: String, _ ranges: [Range<Int64>]) throws(MirrorError) {
        try attempt { (store) throws(BitmapStoreError) in
            try store.mark(name, ranges)
        } image: { (image) throws(StorageError) in
            let bitmap = try image.bitmap(name)
            for range in ranges where range.lowerBound < 0 || range.upperBound > bitmap.size {
                throw .image(
                    ImageProblem(
                        .missing, image.path,
                        "\(range.lowerBound)-\(range.upperBound) is not within its "
                            + "\(bitmap.size) bytes"))
            }
            guard bitmap.isRecording else {
                throw .image(
                    ImageProblem(
                        .refused, image.path, "bitmap '\(name)' is disabled and takes no marks",
                        remedy: "`ringmirror bitmap enable` lets it."))
            }
            var bits = DirtyBitmap(size: bitmap.size, granularity: bitmap.granularity)
            for range in ranges { bits.set(range) }
            try image.merge(into: name, bits: bits)
        }
    }

    /// What an engineer should know about the bitmaps of an image: what is wrong with some of them.
    func remarks() throws(MirrorError) -> [String] {
        try attempt { _ in
            []
        } image: { (image) throws(StorageError) in
            let list = try image.list()
            return list.notes + list.problems.map(\.description)
        }
    }

    /// Marks what a bitmap from elsewhere has dirty, also in a disabled one.
    func merge(into name: String, bits: borrowing DirtyBitmap) throws(MirrorError) {
        switch self {
        case .store(let store):
            do throws(BitmapStoreError) {
                try store.merge(into: name, bits: bits)
            } catch {
                throw .store(error)
            }
        case .image(let image, _):
            do throws(StorageError) {
                try image.merge(into: name, bits: bits)
            } catch {
                throw .storage(error)
            }
        }
    }

    /// Marks what `bits` has dirty in a bitmap, which is added if it is not there.
    func put(
        _ bits: borrowing DirtyBitmap, into name: String, granularity: Granularity
    ) throws(MirrorError) {
        guard try !bitmaps().contains(where: { $0.name == name }) else {
            return try merge(into: name, bits: bits)
        }
        try add(name, granularity, bits: bits.copy())
    }

    private func attempt<Result: ~Copyable>(
        store: (BitmapStore) throws(BitmapStoreError) -> Result,
        image: (ImageBitmaps) throws(StorageError) -> Result
    ) throws(MirrorError) -> Result {
        switch self {
        case .store(let place):
            do throws(BitmapStoreError) { return try store(place) } catch { throw .store(error) }
        case .image(let place, _):
            do throws(StorageError) { return try image(place) } catch { throw .storage(error) }
        }
    }

    /// The same where the records of an image's bitmap have to follow it.
    private func attempt<Result>(
        store: (BitmapStore) throws(BitmapStoreError) -> Result,
        image: (ImageBitmaps) throws(StorageError) -> Result,
        records: (BitmapStore) throws(BitmapStoreError) -> Result
    ) throws(MirrorError) -> Result {
        let result = try attempt(store: store, image: image)
        guard case .image(_, let place?) = self else { return result }
        do throws(BitmapStoreError) { return try records(place) } catch { throw .store(error) }
    }

    /// Asks the store, of an image the one beside it; nil if there is none.
    private func recording<Result>(
        _ body: (BitmapStore) throws(BitmapStoreError) -> Result
    ) throws(MirrorError) -> Result? {
        let place: BitmapStore
        switch self {
        case .store(let store): place = store
        case .image(_, let records?): place = records
        case .image(_, nil): return nil
        }
        do throws(BitmapStoreError) { return try body(place) } catch { throw .store(error) }
    }
}

/// What is known of a bitmap, wherever it is kept.
struct BitmapFacts {
    let name: String
    let size: Int64
    let granularity: Granularity
    let state: BitmapState
    /// Who works with it.
    var holder: JobHolder?
    /// A job on it can be resumed.
    var isInterrupted = false
    let dirtyCount: Int
    let dirtyBytes: Int64
    /// Seconds since 1970; nobody writes it down in an image.
    var createdAt: Int64?
    var lastSuccess: LastSuccess?
    /// The newest mirror last.
    var targets: [StoredTarget] = []

    var isBusy: Bool { holder != nil }

    init(_ bitmap: StoredBitmap) {
        name = bitmap.name
        size = bitmap.size
        granularity = bitmap.granularity
        state = bitmap.state
        holder = bitmap.holder
        isInterrupted = bitmap.isInterrupted
        dirtyCount = bitmap.dirtyCount
        dirtyBytes = bitmap.dirtyBytes
        createdAt = bitmap.createdAt
        lastSuccess = bitmap.lastSuccess
        targets = bitmap.targets
    }

    init(_ bitmap: ImageBitmap) {
        name = bitmap.name
        size = bitmap.size
        granularity = bitmap.granularity
        state =
            bitmap.isInconsistent ? .inconsistent : bitmap.isRecording ? .recording : .disabled
        dirtyCount = bitmap.dirtyCount
        dirtyBytes = bitmap.dirtyBytes
    }
}
