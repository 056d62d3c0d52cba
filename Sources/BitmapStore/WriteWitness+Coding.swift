// What was seen of a file or disk as bytes; docs/bitmap-store.md lists every tag.

internal import BlockStorage

extension [WriteWitness] {
    /// One field for each file, numbered from 1; nil if there is none.
    var encoded: FieldWriter? {
        guard !isEmpty else { return nil }
        precondition(count <= Int(UInt16.max), "a disk can't have \(count) files")
        var fields = FieldWriter()
        for (index, witness) in enumerated() { fields.put(UInt16(index + 1), witness.encoded) }
        return fields
    }
}

extension FieldReader {
    /// - Returns: none if there is no such field.
    func witnesses(_ tag: UInt16) throws(FieldError) -> [WriteWitness] {
        guard let list = try fields(tag) else { return [] }
        var result: [WriteWitness] = []
        for field in try list.numbered("witness") {
            result.append(try WriteWitness(decoding: field))
        }
        return result
    }
}

extension WriteWitness {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, size)
        fields.put(2, modified)
        fields.put(3, statusChanged)
        fields.put(4, counters?.encoded)
        if !timesShowWrites { fields.put(5, 0 as UInt8) }
        fields.put(6, inode)
        fields.put(7, born)
        return fields
    }

    fileprivate init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...7, in: "witness")
        let timesShowWrites = try fields.number(5, as: UInt8.self) ?? 1
        guard timesShowWrites <= 1 else {
            throw .unsupported("times of kind \(timesShowWrites)")
        }
        self.init(
            size: try fields.number(1), inode: try fields.number(6), born: try fields.number(7),
            modified: try fields.number(2), statusChanged: try fields.number(3),
            timesShowWrites: timesShowWrites == 1,
            counters: try fields.counters(4))
    }
}

extension WriteCounters {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, bootID)
        fields.put(2, diskSequence)
        fields.put(3, writes)
        fields.put(4, sectorsWritten)
        fields.put(5, discards)
        fields.put(6, sectorsDiscarded)
        fields.put(7, sectorsBesidePartitions)
        fields.put(8, (isComplete ? 1 : 0) as UInt8)
        return fields
    }
}

extension FieldReader {
    fileprivate func counters(_ tag: UInt16) throws(FieldError) -> WriteCounters? {
        guard let fields = try fields(tag) else { return nil }
        try fields.checkTags(1...8, in: "row of counters")
        let isComplete = try need(try fields.number(8, as: UInt8.self), "what is counted")
        guard isComplete <= 1 else { throw .unsupported("counters of kind \(isComplete)") }
        return WriteCounters(
            bootID: try need(try fields.text(1), "a boot's number"),
            diskSequence: try fields.number(2),
            writes: try need(try fields.number(3), "a counter"),
            sectorsWritten: try need(try fields.number(4), "a counter"),
            discards: try need(try fields.number(5), "a counter"),
            sectorsDiscarded: try need(try fields.number(6), "a counter"),
            sectorsBesidePartitions: try fields.number(7), isComplete: isComplete == 1)
    }
}
