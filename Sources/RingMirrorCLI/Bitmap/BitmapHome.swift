import RingMirror

/// Where the bitmaps of a disk are kept: in a store, or in the qcow2 image itself.
///
/// What a command does with bitmaps it does here, so that it is the same for both.
enum BitmapHome {
    case store(BitmapStore, of: Disk)
    /// `records` is the store beside the image, if there is one: it knows the targets and the
    /// interrupted jobs of the image's bitmaps, and has to hear of what becomes of them.
    case image(ImageBitmaps, of: Disk, records: BitmapStore?)

    /// The file that has the bitmaps.
    var path: FilePath {
        switch self {
        case .store(let store, _): store.path
        case .image(let bitmaps, _, _): bitmaps.path
        }
    }

    /// The file that has what is known of targets and jobs.
    var recordsPath: FilePath { records?.path ?? path }

    private var records: BitmapStore? {
        switch self {
        case .store(let store, _): store
        case .image(_, _, let records): records
        }
    }

    /// The disk as it is now, for marks in a store. Those in an image are of the image that they
    /// are in.
    private func look() -> [WriteWitness] {
        if case .store(_, let disk) = self { disk.witness() } else { [] }
    }

    func bitmaps() throws(MirrorError) -> [BitmapFacts] {
        try attempt { (store) throws(BitmapStoreError) in
            try store.bitmaps().map { BitmapFacts($0) }
        } image: { (image) throws(StorageError) in
            try image.list().bitmaps.map { BitmapFacts($0) }
        }.map { (facts) throws(MirrorError) in try withTargets(facts) }
    }

    func bitmap(_ name: String) throws(MirrorError) -> BitmapFacts {
        try withTargets(
            attempt { (store) throws(BitmapStoreError) in
                BitmapFacts(try store.bitmap(name))
            } image: { (image) throws(StorageError) in
                BitmapFacts(try image.bitmap(name))
            })
    }

    /// Adds what the store beside an image knows of the targets of its bitmaps: none, if something
    /// else has cleared the bitmap.
    private func withTargets(_ facts: BitmapFacts) throws(MirrorError) -> BitmapFacts {
        guard case .image(let image, _, let records?) = self, facts.state != .inconsistent else {
            return facts
        }
        let marks: DirtyBitmap?
        do throws(StorageError) { marks = try image.load(facts.name) } catch {
            throw .storage(error)
        }
        var facts = facts
        do throws(BitmapStoreError) {
            facts.targets = try records.targets(of: .image(facts.name), imageMarks: marks)
        } catch .bitmapRemade {
            return facts
        } catch {
            throw .store(error)
        }
        return facts
    }

    /// Jobs that run or can be resumed.
    func jobs() throws(MirrorError) -> [StoredJob] {
        do throws(BitmapStoreError) { return try records?.jobs() ?? [] } catch {
            throw .store(error)
        }
    }

    /// What mirrors were or are made to.
    func targetPaths() throws(MirrorError) -> [FilePath] {
        try bitmaps().flatMap { $0.targets.map(\.path) } + jobs().map(\.targetPath)
    }

    func load(_ name: String) throws(MirrorError) -> DirtyBitmap {
        try attempt { (store) throws(BitmapStoreError) in
            try store.load(name)
        } image: { (image) throws(StorageError) in
            try image.load(name)
        }
    }

    /// What an incremental mirror to a target of a bitmap would copy.
    func load(_ name: String, for target: StoredTarget) throws(MirrorError) -> DirtyBitmap {
        let marks = try load(name)
        do throws(BitmapStoreError) {
            switch self {
            case .store(let store, _):
                return try store.demand(of: target.identity, by: .stored(name))
            case .image(_, _, let records?):
                return try records.demand(
                    of: target.identity, by: .image(name), imageMarks: marks.copy())
            case .image(_, _, nil): return marks
            }
        } catch {
            throw .store(error)
        }
    }

    /// - Parameter bits: what is dirty; nil: nothing.
    func add(
        _ name: String, _ granularity: Granularity, disabled: Bool = false,
        bits: borrowing DirtyBitmap? = nil
    ) throws(MirrorError) {
        switch self {
        case .store(let store, _):
            do throws(BitmapStoreError) {
                try Self.requireText(name)
                try store.add(
                    name, granularity: granularity, disabled: disabled, bits: bits,
                    sourceWitness: look)
            } catch {
                // It may have been made for this bitmap alone.
                _ = try? store.removeFileIfEmpty()
                throw .store(error)
            }
        case .image(let image, let disk, let records):
            do throws(BitmapStoreError) { try Self.requireText(name) } catch { throw .store(error) }
            if let records { try prepare(records, image, for: name) }
            try disk.changeBitmaps(heardBy: records) { (image) throws(StorageError) in
                try image.add(name, granularity: granularity, disabled: disabled, bits: bits)
            }
        }
    }

    /// Bytes of a name that are not UTF-8 would be stored as other ones.
    static func requireText(_ name: String) throws(BitmapStoreError) {
        guard let argument = PathArgument(argument: name), argument.utf8 == nil else { return }
        throw .invalidName(name: name, why: "it is not UTF-8")
    }

    /// The name must not mean two bitmaps, nor the records one that something else has removed.
    private func prepare(
        _ records: BitmapStore, _ image: ImageBitmaps, for name: String
    ) throws(MirrorError) {
        do throws(StorageError) {
            guard try !image.contains(name) else { return }
        } catch {
            throw .storage(error)
        }
        do throws(BitmapStoreError) {
            guard try !records.bitmaps().contains(where: { $0.name == name }) else {
                throw .nameTaken(name: name, path: records.path)
            }
            try records.forget(imageBitmap: name)
        } catch {
            throw .store(error)
        }
    }

    // What the records of an image's bitmap have to hear of, they hear before it is so: a command
    // that is cut off in between then leaves less known than there is, and never too much.

    /// - Returns: the jobs that can't be resumed any more.
    func remove(_ name: String) throws(MirrorError) -> [StoredJob] {
        guard case .image(_, let disk, let records) = self else {
            let forgotten = try telling { (store) throws(BitmapStoreError) in
                try store.remove(name)
            }
            try removeStoreIfEmpty()
            return forgotten
        }
        let forgotten = try telling { (store) throws(BitmapStoreError) in
            try store.forget(imageBitmap: name)
        }
        try disk.changeBitmaps(heardBy: records) { (image) throws(StorageError) in
            _ = try image.remove(name)
        }
        try removeStoreIfEmpty()
        return forgotten
    }

    /// Removes all bitmaps inside an image.
    ///
    /// - Returns: sentences for the user, and the jobs that can't be resumed any more.
    func removeAll() throws(MirrorError) -> (notes: [String], jobs: [StoredJob]) {
        guard case .image(_, let disk, let records) = self else { return ([], []) }
        let forgotten = try telling { (store) throws(BitmapStoreError) in
            var forgotten: [StoredJob] = []
            for name in try store.imageBitmaps() {
                forgotten += try store.forget(imageBitmap: name)
            }
            return forgotten
        }
        let notes = try disk.changeBitmaps(heardBy: records) { (image) throws(StorageError) in
            try image.removeAll()
        }
        try removeStoreIfEmpty()
        return (notes, forgotten)
    }

    /// Makes a change of the store, if there is one.
    private func telling(
        _ change: (BitmapStore) throws(BitmapStoreError) -> [StoredJob]
    ) throws(MirrorError) -> [StoredJob] {
        do throws(BitmapStoreError) { return try records.map(change) ?? [] } catch {
            throw .store(error)
        }
    }

    private func removeStoreIfEmpty() throws(MirrorError) {
        do throws(BitmapStoreError) { try records?.removeFileIfEmpty() } catch {
            throw .store(error)
        }
    }

    /// - Returns: the jobs that can't be resumed any more, and the targets that are known no
    ///   longer.
    func clear(_ name: String) throws(MirrorError) -> (jobs: [StoredJob], targets: [StoredTarget]) {
        switch self {
        case .store(let store, _):
            do throws(BitmapStoreError) { return (try store.clear(name), []) } catch {
                throw .store(error)
            }
        case .image(_, let disk, let records):
            let marks = try load(name)
            var forgotten: (jobs: [StoredJob], targets: [StoredTarget]) = ([], [])
            do throws(BitmapStoreError) {
                if let records {
                    forgotten = try records.willClear(imageBitmap: name, marks: marks)
                }
            } catch {
                throw .store(error)
            }
            try disk.changeBitmaps(heardBy: records) { (image) throws(StorageError) in
                try image.clear(name)
            }
            return forgotten
        }
    }

    /// Enables or disables a bitmap of a disk.
    func setRecording(
        _ name: String, _ isRecording: Bool, of disk: Disk
    ) throws(MirrorError) {
        if try bitmap(name).state == (isRecording ? .recording : .disabled) { return }
        let witness = disk.freshWitness()
        try noteRecording(name, isRecording, witness)
        try change { (store) throws(BitmapStoreError) in
            try store.setRecording(name, isRecording, sourceWitness: witness)
        } image: { (image) throws(StorageError) in
            try image.setRecording(name, isRecording)
        }
    }

    private func noteRecording(
        _ name: String, _ isRecording: Bool, _ witness: [WriteWitness]
    ) throws(MirrorError) {
        guard case .image(_, _, let records?) = self else { return }
        do throws(BitmapStoreError) {
            try records.noteRecording(
                imageBitmap: name, isRecording, sourceWitness: witness)
        } catch {
            throw .store(error)
        }
    }

    /// - Returns: the targets that were forgotten.
    func forgetTargets(
        of name: String, where condition: (StoredTarget) -> Bool
    ) throws(MirrorError) -> [StoredTarget] {
        do throws(BitmapStoreError) {
            switch self {
            case .store(let store, _):
                return try store.forgetTargets(of: .stored(name), where: condition)
            case .image(_, _, let records?):
                guard try records.imageBitmaps().contains(name) else { return [] }
                return try records.forgetTargets(of: .image(name), where: condition)
            case .image(_, _, nil): return []
            }
        } catch {
            throw .store(error)
        }
    }

    func merge(into name: String, from names: [String]) throws(MirrorError) {
        try change { (store) throws(BitmapStoreError) in
            try store.merge(into: name, from: names)
        } image: { (image) throws(StorageError) in
            try image.merge(into: name, from: names)
        }
    }

    /// Marks ranges of bytes.
    func mark(_ name: String, _ ranges: [Range<Int64>]) throws(MirrorError) {
        try change { (store) throws(BitmapStoreError) in
            try store.mark(name, ranges, sourceWitness: look)
        } image: { (image) throws(StorageError) in
            let bitmap = try image.bitmap(name)
            for range in ranges where range.lowerBound < 0 || range.upperBound > bitmap.size {
                throw .image(
                    ImageProblem(
                        .missing, image.path,
                        "\(range.lowerBound)-\(range.upperBound) is not within its "
                            + "\(bitmap.size) bytes", code: .rangeOutside))
            }
            guard bitmap.isRecording else {
                throw .image(
                    ImageProblem(
                        .refused, image.path, "bitmap '\(name)' is disabled and takes no marks",
                        remedy: "`ringmirror bitmap enable` lets it.", code: .bitmapDisabled))
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
            return list.notes + list.problems.map(\.told)
        }
    }

    /// Marks what a bitmap from elsewhere has dirty, also in a disabled one.
    func merge(into name: String, bits: borrowing DirtyBitmap) throws(MirrorError) {
        try change { (store) throws(BitmapStoreError) in
            try store.merge(into: name, bits: bits, sourceWitness: look)
        } image: { (image) throws(StorageError) in
            try image.merge(into: name, bits: bits)
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
        case .store(let place, _):
            do throws(BitmapStoreError) { return try store(place) } catch { throw .store(error) }
        case .image(let place, _, _):
            do throws(StorageError) { return try image(place) } catch { throw .storage(error) }
        }
    }

    /// The same for what writes the image, of which the store beside it hears.
    private func change<Result>(
        store: (BitmapStore) throws(BitmapStoreError) -> Result,
        image: (ImageBitmaps) throws(StorageError) -> Result
    ) throws(MirrorError) -> Result {
        guard case .image(_, let disk, let records) = self else {
            return try attempt(store: store, image: image)
        }
        return try disk.changeBitmaps(heardBy: records, image)
    }
}
