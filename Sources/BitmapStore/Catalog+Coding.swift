// The directory as bytes; docs/bitmap-store.md lists every tag.

internal import BlockStorage
internal import DirtyBitmap

private enum EntryKind {
    static let store: UInt16 = 1
    static let bitmap: UInt16 = 2
    static let job: UInt16 = 3
    static let recorder: UInt16 = 4
    static let imageBitmap: UInt16 = 5
    static let target: UInt16 = 6
}

extension Catalog {
    func encoded() -> [UInt8] {
        var blob = FieldWriter()
        let required = FieldWriter.isRequired
        var store = FieldWriter()
        store.put(1, nextID)
        store.put(2, device.encoded)
        blob.put(EntryKind.store, store.bytes, flags: required)
        for bitmap in bitmaps {
            blob.put(EntryKind.bitmap, bitmap.encoded.bytes, flags: required)
        }
        for bitmap in imageBitmaps {
            blob.put(EntryKind.imageBitmap, bitmap.encoded.bytes, flags: required)
        }
        for target in targets {
            blob.put(EntryKind.target, target.encoded.bytes, flags: required)
        }
        for job in jobs { blob.put(EntryKind.job, job.encoded.bytes, flags: required) }
        for recorder in recorders {
            blob.put(EntryKind.recorder, recorder.encoded.bytes, flags: required)
        }
        return blob.bytes
    }

    /// - Parameter version: of the file; what an older one says is told in terms of today.
    init(
        decoding bytes: [UInt8], version: UInt32 = Superblock.version
    ) throws(FieldError) {
        let entries = try FieldReader(bytes[...]).fields
        guard let first = entries.first, first.tag == EntryKind.store else {
            throw .damaged("the directory does not start with the store's entry")
        }
        let store = try FieldReader(first.value)
        try store.checkTags(1...2, in: "store")
        let identity = try need(try store.fields(2), "the disk's identity")
        self.init(device: try DeviceIdentity(decoding: identity))
        nextID = try need(try store.number(1), "the next number")
        var hasHistory: Set<UInt64> = []
        for entry in entries.dropFirst() {
            let isRequired = entry.flags & FieldWriter.isRequired != 0
            guard entry.flags & ~FieldWriter.isRequired == 0 else {
                throw .unsupported("an entry has flags \(entry.flags)")
            }
            let isKnown = try add(entry, version, &hasHistory)
            if isRequired && !isKnown {
                throw .unsupported("it has entries of kind \(entry.tag)")
            }
        }
        if version == VersionOne.number { allowForLostMarks() }
        completeHistories { !hasHistory.contains($0) }
        if let flaw { throw .damaged(flaw) }
    }

    /// - Parameter hasHistory: the numbers of bitmaps that tell theirs.
    /// - Returns: whether it is of a known kind.
    private mutating func add(
        _ entry: FieldReader.Field, _ version: UInt32, _ hasHistory: inout Set<UInt64>
    ) throws(FieldError) -> Bool {
        let size = device.size
        switch (entry.tag, version) {
        case (EntryKind.bitmap, VersionOne.number):
            let fields = try FieldReader(entry.value)
            bitmaps.append(try BitmapEntry(decoding: fields, size: size))
            if let target = try VersionOne.target(of: bitmaps[bitmaps.count - 1], fields) {
                targets.append(target)
            }
        case (EntryKind.bitmap, _):
            let fields = try FieldReader(entry.value)
            bitmaps.append(try BitmapEntry(decoding: fields, size: size))
            if fields.bytes(7) != nil { hasHistory.insert(bitmaps[bitmaps.count - 1].id) }
        case (EntryKind.job, _):
            let fields = try FieldReader(entry.value)
            var job = try JobEntry(decoding: fields, size: size)
            if version == VersionOne.number { try VersionOne.complete(&job, fields) }
            jobs.append(job)
        case (EntryKind.recorder, _):
            recorders.append(try RecorderEntry(decoding: try FieldReader(entry.value)))
        case (EntryKind.imageBitmap, Superblock.version):
            let fields = try FieldReader(entry.value)
            imageBitmaps.append(try ImageBitmapEntry(decoding: fields, size: size))
            if fields.bytes(4) != nil {
                hasHistory.insert(imageBitmaps[imageBitmaps.count - 1].id)
            }
        case (EntryKind.target, Superblock.version):
            targets.append(try TargetEntry(decoding: try FieldReader(entry.value), size: size))
        default: return false
        }
        return true
    }
}

extension BitmapEntry {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, id)
        fields.put(2, name)
        fields.put(3, state.rawValue)
        fields.put(4, createdAt)
        fields.put(5, bits.encoded)
        fields.put(7, history.encoded)
        return fields
    }

    fileprivate init(decoding fields: FieldReader, size: Int64) throws(FieldError) {
        // The sixth is of version 1.
        try fields.checkTags(1...7, in: "bitmap")
        self.init(
            id: try need(try fields.number(1), "a bitmap's number"),
            name: try need(try fields.text(2), "a bitmap's name"),
            state: try need(try fields.word(3), "a bitmap's state"),
            createdAt: try need(try fields.number(4), "a bitmap's time"),
            bits: try BitTree(decoding: try need(fields.bytes(5), "a bitmap's bits"), size: size))
        if let found = try fields.fields(7) { history = try BitmapHistory(decoding: found) }
    }
}

extension ImageBitmapEntry {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, id)
        fields.put(2, name)
        fields.put(3, settled.encoded)
        fields.put(4, history.encoded)
        return fields
    }

    fileprivate init(decoding fields: FieldReader, size: Int64) throws(FieldError) {
        try fields.checkTags(1...4, in: "bitmap of an image")
        self.init(
            id: try need(try fields.number(1), "a bitmap's number"),
            name: try need(try fields.text(2), "a bitmap's name"),
            settled: try BitTree(
                decoding: try need(fields.bytes(3), "a bitmap's bits"), size: size))
        if let found = try fields.fields(4) { history = try BitmapHistory(decoding: found) }
    }
}

extension TargetEntry {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, bitmap)
        fields.put(2, identity.encoded)
        fields.put(3, path)
        fields.put(4, lacked.encoded)
        fields.put(5, success?.encoded)
        fields.put(6, witness.encoded)
        fields.put(7, doubts.encoded)
        return fields
    }

    fileprivate init(decoding fields: FieldReader, size: Int64) throws(FieldError) {
        try fields.checkTags(1...7, in: "target")
        self.init(
            bitmap: try need(try fields.number(1), "a target's bitmap"),
            identity: try DeviceIdentity(
                decoding: try need(try fields.fields(2), "a target's identity")),
            path: try need(try fields.text(3), "a target's path"),
            lacked: try BitTree(
                decoding: try need(fields.bytes(4), "a target's bits"), size: size),
            success: nil, witness: try fields.witnesses(6))
        if let found = try fields.fields(5) { success = try TargetSuccess(decoding: found) }
        doubts =
            try fields.doubts(7) ?? TargetDoubt.unrecorded(success?.mode, at: success?.time)
    }
}

extension TargetSuccess {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, time)
        fields.put(2, bytesCopied)
        fields.put(3, mode.rawValue)
        fields.put(4, sourceWitness.encoded)
        return fields
    }

    fileprivate init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...4, in: "success")
        self.init(
            time: try need(try fields.number(1), "a time"),
            bytesCopied: try need(try fields.number(2), "an amount"),
            mode: try need(try fields.word(3), "a mode"),
            sourceWitness: try fields.witnesses(4))
    }
}

extension JobEntry {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, id)
        fields.put(2, mode.rawValue)
        fields.put(3, bitmap)
        fields.put(4, bitmapMode.rawValue)
        fields.put(5, source.encoded)
        fields.put(6, sourcePath)
        fields.put(7, target.encoded)
        fields.put(8, targetPath)
        fields.put(9, startedAt)
        fields.put(10, checkpointedAt)
        fields.put(11, planned)
        fields.put(12, (isOpen ? 1 : 0) as UInt8)
        fields.put(13, holder.encoded)
        if let taken { fields.put(14, taken.encoded) }
        fields.put(15, remaining.encoded)
        if let marked { fields.put(16, marked.encoded) }
        fields.put(18, sourceWitness.encoded)
        fields.put(19, targetWitness.encoded)
        fields.put(20, (isUnrecorded ? 1 : 0) as UInt8)
        fields.put(21, doubts.encoded)
        fields.put(22, writtenFiles.map(UInt16.init))
        return fields
    }

    fileprivate init(decoding fields: FieldReader, size: Int64) throws(FieldError) {
        // The seventeenth is of version 1.
        try fields.checkTags(1...22, in: "job")
        let isOpen = try need(try fields.number(12, as: UInt8.self), "a job's state")
        guard isOpen <= 1 else { throw .unsupported("a job has state \(isOpen)") }
        let isUnrecorded = try fields.number(20, as: UInt8.self) ?? 0
        guard isUnrecorded <= 1 else { throw .unsupported("a job has state \(isUnrecorded)") }
        self.init(
            id: try need(try fields.number(1), "a job's number"),
            mode: try need(try fields.word(2), "a job's mode"),
            bitmap: try fields.number(3),
            bitmapMode: try need(try fields.word(4), "a job's bitmap mode"),
            source: try DeviceIdentity(
                decoding: try need(try fields.fields(5), "a job's source")),
            sourcePath: try need(try fields.text(6), "a job's source"),
            sourceWitness: try fields.witnesses(18),
            target: try DeviceIdentity(
                decoding: try need(try fields.fields(7), "a job's target")),
            targetPath: try need(try fields.text(8), "a job's target"),
            targetWitness: try fields.witnesses(19),
            writtenFiles: try fields.number(22, as: UInt16.self).map(Int.init),
            startedAt: try need(try fields.number(9), "a job's time"),
            checkpointedAt: try fields.number(10),
            planned: try need(try fields.number(11), "a job's plan"),
            isOpen: isOpen == 1,
            holder: try JobHolder(decoding: try need(try fields.fields(13), "a job's holder")),
            taken: try Self.tree(fields.bytes(14), size),
            remaining: try BitTree(
                decoding: try need(fields.bytes(15), "a job's bits"), size: size),
            marked: try Self.tree(fields.bytes(16), size),
            isUnrecorded: isUnrecorded == 1, doubts: try fields.doubts(21) ?? [])
        if fields.bytes(21) == nil, bitmap != nil {
            doubts = TargetDoubt.unrecorded(mode, at: startedAt)
        }
    }

    private static func tree(
        _ bytes: ArraySlice<UInt8>?, _ size: Int64
    ) throws(FieldError) -> BitTree? {
        guard let bytes else { return nil }
        return try BitTree(decoding: bytes, size: size)
    }
}

extension RecorderEntry {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, id)
        fields.put(2, bitmap)
        fields.put(3, holder.encoded)
        if let tracker {
            fields.put(4, tracker.bytes)
            fields.put(5, merges)
        }
        return fields
    }

    fileprivate init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...5, in: "recorder")
        self.init(
            id: try need(try fields.number(1), "a recorder's number"),
            bitmap: try need(try fields.number(2), "a recorder's bitmap"),
            holder: try JobHolder(
                decoding: try need(try fields.fields(3), "a recorder's holder")))
        guard let bytes = fields.bytes(4) else { return }
        tracker = try need(StoredTracker(bytes: Array(bytes)), "a tracker's numbers")
        merges = try need(try fields.number(5), "the number of a tracker's last merge")
    }
}
