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

    /// The file that has what is known of targets and jobs.
    var recordsPath: FilePath { records?.path ?? path }

    private var records: BitmapStore? {
        switch self {
        case .store(let store): store
        case .image(_, let records): records
        }
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
        guard case .image(let image, let records?) = self, facts.state != .inconsistent else {
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
            case .store(let store):
                return try store.demand(of: target.identity, by: .stored(name))
            case .image(_, let records?):
                return try records.demand(
                    of: target.identity, by: .image(name), imageMarks: marks.copy())
            case .image(_, nil): return marks
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
        case .store(let store):
            do throws(BitmapStoreError) {
                try Self.requireText(name)
                try store.add(name, granularity: granularity, disabled: disabled, bits: bits)
            } catch {
                // It may have been made for this bitmap alone.
                _ = try? store.removeFileIfEmpty()
                throw .store(error)
            }
        case .image(let image, let records):
            do throws(BitmapStoreError) { try Self.requireText(name) } catch { throw .store(error) }
            if let records { try prepare(records, image, for: name) }
            do throws(StorageError) {
                try image.add(name, granularity: granularity, disabled: disabled, bits: bits)
            } catch {
                throw .storage(error)
            }
        }
    }

    /// Bytes of a name that are not UTF-8 would be stored as other ones.
    static func requireText(_ name: String) throws(BitmapStoreError) {
        guard PathArgument(argument: name).utf8 == nil else { return }
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
        let forgotten = try forgetRecords(of: name)
        return try forgotten
            + attempt { (store) throws(BitmapStoreError) in
                let forgotten = try store.remove(name)
                try store.removeFileIfEmpty()
                return forgotten
            } image: { (image) throws(StorageError) in
                try image.remove(name)
                return []
            }
    }

    /// Removes all bitmaps inside an image.
    ///
    /// - Returns: sentences for the user, and the jobs that can't be resumed any more.
    func removeAll() throws(MirrorError) -> (notes: [String], jobs: [StoredJob]) {
        guard case .image(let image, let records) = self else { return ([], []) }
        var forgotten: [StoredJob] = []
        do throws(BitmapStoreError) {
            for name in try records?.imageBitmaps() ?? [] {
                forgotten += try records?.forget(imageBitmap: name) ?? []
            }
            try records?.removeFileIfEmpty()
        } catch {
            throw .store(error)
        }
        do throws(StorageError) { return (try image.removeAll(), forgotten) } catch {
            throw .storage(error)
        }
    }

    /// What is known of the targets of an image's bitmap goes with it.
    private func forgetRecords(of name: String) throws(MirrorError) -> [StoredJob] {
        guard case .image(_, let records?) = self else { return [] }
        do throws(BitmapStoreError) {
            let forgotten = try records.forget(imageBitmap: name)
            try records.removeFileIfEmpty()
            return forgotten
        } catch {
            throw .store(error)
        }
    }

    /// - Returns: the jobs that can't be resumed any more, and the targets that are known no
    ///   longer.
    func clear(_ name: String) throws(MirrorError) -> (jobs: [StoredJob], targets: [StoredTarget]) {
        switch self {
        case .store(let store):
            do throws(BitmapStoreError) { return (try store.clear(name), []) } catch {
                throw .store(error)
            }
        case .image(let image, let records):
            let marks = try load(name)
            var forgotten: (jobs: [StoredJob], targets: [StoredTarget]) = ([], [])
            do throws(BitmapStoreError) {
                if let records {
                    forgotten = try records.willClear(imageBitmap: name, marks: marks)
                }
            } catch {
                throw .store(error)
            }
            do throws(StorageError) { try image.clear(name) } catch { throw .storage(error) }
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
        try attempt { (store) throws(BitmapStoreError) in
            try store.setRecording(name, isRecording, sourceWitness: witness)
        } image: { (image) throws(StorageError) in
            try image.setRecording(name, isRecording)
        }
        // Disabling a bitmap in an image has written the image; what comes next is no more of ours.
        if !isRecording { try noteRecording(name, isRecording, disk.freshWitness()) }
    }

    private func noteRecording(
        _ name: String, _ isRecording: Bool, _ witness: [WriteWitness]
    ) throws(MirrorError) {
        guard case .image(_, let records?) = self else { return }
        do throws(BitmapStoreError) {
            try records.noteRecording(
                imageBitmap: name, isRecording, sourceWitness: witness)
        } catch {
            throw .store(error)
        }
    }

    /// The same with a store beside an image, which is made if it can be.
    func withRecords(at place: FilePath, for disk: Disk) -> BitmapHome {
        guard case .image(let image, nil) = self,
            let records = try? BitmapStore.openOrCreate(place, for: disk.identity)
        else { return self }
        return .image(image, records: records)
    }

    /// Marks in a bitmap, which is added if it is not there, what a comparison has found; its
    /// second side is known as a target from then on.
    func put(
        _ found: borrowing DirtyBitmap, into name: String, granularity: Granularity,
        _ comparison: ComparisonRecord
    ) throws(MirrorError) {
        var comparison = comparison
        switch self {
        case .store(let store):
            try comparison.judge(.stored(name), in: store)
            try put(found, into: name, granularity: granularity)
            try comparison.note(.stored(name), in: store)
        case .image(_, let records?):
            if try bitmaps().contains(where: { $0.name == name }) {
                try comparison.judge(
                    .image(name), in: records, imageMarks: try load(name),
                    isRecording: try bitmap(name).state == .recording)
            }
            try put(found, into: name, granularity: granularity)
            try comparison.note(.image(name), in: records, imageMarks: try load(name))
        case .image(_, nil):
            // Without a store no target can be known: the next job says on what it rests.
            try put(found, into: name, granularity: granularity)
        }
    }

    /// - Returns: the targets that were forgotten.
    func forgetTargets(
        of name: String, where condition: (StoredTarget) -> Bool
    ) throws(MirrorError) -> [StoredTarget] {
        do throws(BitmapStoreError) {
            switch self {
            case .store(let store):
                return try store.forgetTargets(of: .stored(name), where: condition)
            case .image(_, let records?):
                guard try records.imageBitmaps().contains(name) else { return [] }
                return try records.forgetTargets(of: .image(name), where: condition)
            case .image(_, nil): return []
            }
        } catch {
            throw .store(error)
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
}
