// The parts of directory entries as bytes; docs/bitmap-store.md lists every tag.

internal import BlockStorage
internal import DirtyBitmap

extension BitTree {
    /// Granularity, dirty bytes, references: fixed places, because it can be long.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16 + tables.count * Reference.byteCount)
        bytes.append(littleEndian: UInt32(layout.shift))
        bytes.append(littleEndian: 0 as UInt32)
        bytes.append(littleEndian: dirtyBytes)
        for table in tables {
            bytes.append(littleEndian: table.offset)
            bytes.append(littleEndian: table.checksum)
        }
        return bytes
    }

    init(decoding bytes: ArraySlice<UInt8>, size: Int64) throws(FieldError) {
        let bytes = Array(bytes)
        guard bytes.count >= 16 else { throw .damaged("bits without granularity") }
        let layout: BitLayout
        do throws(DirtyBitmapError) {
            layout = try BitLayout(
                size: size, shift: Int(bytes.number(at: 0, as: UInt32.self)))
        } catch {
            throw .damaged("bits that can't be: \(error)")
        }
        guard bytes.number(at: 4, as: UInt32.self) == 0 else {
            throw .unsupported("bits of an unknown kind")
        }
        let dirtyBytes = bytes.number(at: 8, as: Int64.self)
        guard (0...size).contains(dirtyBytes) else {
            throw .damaged("\(dirtyBytes) dirty bytes of \(size)")
        }
        guard bytes.count == 16 + layout.tableCount * Reference.byteCount else {
            throw .damaged("bits with too few or too many references")
        }
        self.init(
            layout: layout, tables: Reference.decode(bytes, from: 16), dirtyBytes: dirtyBytes)
    }
}

extension Reference {
    static func decode(_ bytes: [UInt8], from start: Int) -> [Reference] {
        stride(from: start, to: bytes.count, by: byteCount).map {
            Reference(
                offset: bytes.number(at: $0, as: UInt64.self),
                checksum: bytes.number(at: $0 + 8, as: UInt64.self))
        }
    }
}

extension JobHolder {
    var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, Int64(pid))
        fields.put(2, command)
        fields.put(3, startedAt)
        return fields
    }

    init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...3, in: "holder")
        self.init(
            pid: Int(try need(try fields.number(1, as: Int64.self), "a process number")),
            command: try need(try fields.text(2), "a command"),
            startedAt: try need(try fields.number(3), "a time"))
    }
}

extension DeviceIdentity {
    var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, size)
        fields.put(2, deviceNumber?.encoded)
        fields.put(3, filesystemDevice?.encoded)
        fields.put(4, inode)
        fields.put(5, filesystem)
        fields.put(6, diskSequence)
        fields.put(7, model)
        fields.put(8, serial)
        fields.put(9, wwn)
        fields.put(10, uuid)
        fields.put(11, partition.map { Int64($0) })
        fields.put(12, partitionStart)
        fields.put(13, backingDevice?.encoded)
        fields.put(14, backingInode)
        fields.put(15, backingOffset)
        fields.put(16, birth)
        fields.put(17, generation)
        fields.put(18, backingBirth)
        return fields
    }

    init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...18, in: "device identity")
        self.init(size: try need(try fields.number(1), "a size"))
        guard size >= 0 else { throw .damaged("a disk of \(size) bytes") }
        deviceNumber = try fields.deviceNumber(2)
        filesystemDevice = try fields.deviceNumber(3)
        inode = try fields.number(4)
        filesystem = try fields.text(5)
        diskSequence = try fields.number(6)
        model = try fields.text(7)
        serial = try fields.text(8)
        wwn = try fields.text(9)
        uuid = try fields.text(10)
        partition = try fields.number(11, as: Int64.self).map { Int($0) }
        partitionStart = try fields.number(12)
        backingDevice = try fields.deviceNumber(13)
        backingInode = try fields.number(14)
        backingOffset = try fields.number(15)
        birth = try fields.number(16)
        generation = try fields.number(17)
        backingBirth = try fields.number(18)
    }
}

extension DeviceNumber {
    fileprivate var encoded: UInt64 { UInt64(major) << 32 | UInt64(minor) }
}

extension FieldReader {
    fileprivate func deviceNumber(_ tag: UInt16) throws(FieldError) -> DeviceNumber? {
        guard let number = try number(tag, as: UInt64.self) else { return nil }
        return DeviceNumber(
            major: UInt32(number >> 32), minor: UInt32(truncatingIfNeeded: number))
    }
}
