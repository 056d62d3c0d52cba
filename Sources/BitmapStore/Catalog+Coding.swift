// The directory as bytes; docs/bitmap-store.md lists every tag.

internal import BlockStorage
internal import DirtyBitmap

private enum EntryKind {
    static let store: UInt16 = 1
    static let bitmap: UInt16 = 2
    static let job: UInt16 = 3
    static let recorder: UInt16 = 4
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
        for job in jobs { blob.put(EntryKind.job, job.encoded.bytes, flags: required) }
        for recorder in recorders {
            blob.put(EntryKind.recorder, recorder.encoded.bytes, flags: required)
        }
        return blob.bytes
    }

    init(decoding bytes: [UInt8]) throws(FieldError) {
        let entries = try FieldReader(bytes[...]).fields
        guard let first = entries.first, first.tag == EntryKind.store else {
            throw .damaged("the directory does not start with the store's entry")
        }
        let store = try FieldReader(first.value)
        try store.checkTags(1...2, in: "store")
        let identity = try need(try store.fields(2), "the disk's identity")
        self.init(device: try DeviceIdentity(decoding: identity))
        nextID = try need(try store.number(1), "the next number")
        for entry in entries.dropFirst() {
            let isRequired = entry.flags & FieldWriter.isRequired != 0
            guard entry.flags & ~FieldWriter.isRequired == 0 else {
                throw .unsupported("an entry has flags \(entry.flags)")
            }
            let size = device.size
            switch entry.tag {
            case EntryKind.bitmap:
                bitmaps.append(try BitmapEntry(decoding: try FieldReader(entry.value), size: size))
            case EntryKind.job:
                jobs.append(try JobEntry(decoding: try FieldReader(entry.value), size: size))
            case EntryKind.recorder:
                recorders.append(try RecorderEntry(decoding: try FieldReader(entry.value)))
            default:
                if isRequired { throw .unsupported("it has entries of kind \(entry.tag)") }
            }
        }
        try checkConsistency()
    }

    private func checkConsistency() throws(FieldError) {
        guard nextID <= Self.idMax else { throw .damaged("the next number is absurd") }
        guard bitmaps.count <= Self.bitmapsMax, jobs.count + recorders.count <= Self.jobsMax else {
            throw .damaged("it has too many entries")
        }
        var ids: Set<UInt64> = []
        for id in bitmaps.map(\.id) + jobs.map(\.id) + recorders.map(\.id) {
            guard id < nextID, ids.insert(id).inserted else {
                throw .damaged("number \(id) is used twice, or not given out yet")
            }
        }
        guard Set(bitmaps.map(\.name)).count == bitmaps.count else {
            throw .damaged("two bitmaps have one name")
        }
        let shifts = Dictionary(uniqueKeysWithValues: bitmaps.map { ($0.id, $0.bits.layout.shift) })
        for job in jobs {
            guard let bitmap = job.bitmap else {
                guard job.taken == nil, job.marked == nil else {
                    throw .damaged("job \(job.id) has bits of no bitmap")
                }
                continue
            }
            guard job.taken != nil, job.marked?.layout.shift == shifts[bitmap] else {
                throw .damaged("job \(job.id) belongs to no bitmap")
            }
        }
        guard recorders.allSatisfy({ shifts[$0.bitmap] != nil }) else {
            throw .damaged("a recorder belongs to no bitmap")
        }
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
        fields.put(6, lastSuccess?.encoded)
        return fields
    }

    fileprivate init(decoding fields: FieldReader, size: Int64) throws(FieldError) {
        try fields.checkTags(1...6, in: "bitmap")
        let success = try fields.fields(6)
        self.init(
            id: try need(try fields.number(1), "a bitmap's number"),
            name: try need(try fields.text(2), "a bitmap's name"),
            state: try need(try fields.word(3), "a bitmap's state"),
            createdAt: try need(try fields.number(4), "a bitmap's time"),
            bits: try BitTree(decoding: try need(fields.bytes(5), "a bitmap's bits"), size: size),
            lastSuccess: nil)
        if let success { lastSuccess = try LastSuccess(decoding: success) }
        if BitmapName.flaw(in: name) != nil { throw .damaged("a bitmap has an impossible name") }
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
        fields.put(17, sourceModified)
        return fields
    }

    fileprivate init(decoding fields: FieldReader, size: Int64) throws(FieldError) {
        try fields.checkTags(1...17, in: "job")
        let isOpen = try need(try fields.number(12, as: UInt8.self), "a job's state")
        guard isOpen <= 1 else { throw .unsupported("a job has state \(isOpen)") }
        self.init(
            id: try need(try fields.number(1), "a job's number"),
            mode: try need(try fields.word(2), "a job's mode"),
            bitmap: try fields.number(3),
            bitmapMode: try need(try fields.word(4), "a job's bitmap mode"),
            source: try DeviceIdentity(
                decoding: try need(try fields.fields(5), "a job's source")),
            sourcePath: try need(try fields.text(6), "a job's source"),
            sourceModified: try fields.number(17),
            target: try DeviceIdentity(
                decoding: try need(try fields.fields(7), "a job's target")),
            targetPath: try need(try fields.text(8), "a job's target"),
            startedAt: try need(try fields.number(9), "a job's time"),
            checkpointedAt: try fields.number(10),
            planned: try need(try fields.number(11), "a job's plan"),
            isOpen: isOpen == 1,
            holder: try JobHolder(decoding: try need(try fields.fields(13), "a job's holder")),
            taken: try Self.tree(fields.bytes(14), size),
            remaining: try BitTree(
                decoding: try need(fields.bytes(15), "a job's bits"), size: size),
            marked: try Self.tree(fields.bytes(16), size))
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
        return fields
    }

    fileprivate init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...3, in: "recorder")
        self.init(
            id: try need(try fields.number(1), "a recorder's number"),
            bitmap: try need(try fields.number(2), "a recorder's bitmap"),
            holder: try JobHolder(
                decoding: try need(try fields.fields(3), "a recorder's holder")))
    }
}
