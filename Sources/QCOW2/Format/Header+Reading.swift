package import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

extension Header {
    /// `QFI\xfb`.
    package static let magic: UInt32 = 0x5146_49fb

    /// The L1 table is read whole: 32 MiB at most, as QEMU has it.
    package static let l1BytesMax: Int64 = 32 << 20
    package static let refcountTableBytesMax: Int64 = 8 << 20
    static let snapshotsMax = 65536
    static let backingNameMax = 1023
    static let backingFormatMax = 15

    /// Whether bytes begin as a qcow2 image does, of whatever version.
    package static func isPresent(in bytes: [UInt8]) -> Bool {
        bytes.count >= 4 && bytes.bigEndian32(at: 0) == magic
    }

    /// Reads the header of an image, and checks all that it says about itself; what it refers to is
    /// not looked at. Encrypted images and unknown features are refused.
    package static func read(from file: some ImageFile) throws(StorageError) -> Header {
        let bytes = try file.read(at: 0, count: 1 << 21)
        return try HeaderReader(bytes: bytes, path: file.path).read()
    }
}

/// Reads one header. Every length and offset is checked before it is used.
struct HeaderReader {
    /// The beginning of the file, as much of it as the largest cluster has.
    let bytes: [UInt8]
    let path: FilePath

    func read() throws(StorageError) -> Header {
        guard bytes.count >= 72, Header.isPresent(in: bytes) else {
            throw malformed(0, "it is not a qcow2 image: the magic bytes are missing")
        }
        var header = Header()
        header.version = Int(bytes.bigEndian32(at: 4))
        guard header.version == 2 || header.version == 3 else {
            throw .image(
                ImageProblem(
                    .unsupported, path, at: 4, "qcow2 version \(header.version) is not known",
                    remedy: "Versions 2 and 3 are."))
        }
        header.clusterBits = Int(bytes.bigEndian32(at: 20))
        guard (9...21).contains(header.clusterBits) else {
            throw malformed(20, "a cluster of 2^\(header.clusterBits) bytes is not possible")
        }
        try readTables(into: &header)
        var length = 72
        if header.version == 3 { length = try readVersion3(into: &header) }
        try check(header)
        let nameOffset = bytes.bigEndian64(at: 8)
        let limit = nameOffset == 0 ? Int64.max : Int64(clamping: nameOffset)
        try readExtensions(from: length, limit: limit, into: &header)
        try readBackingFile(behind: length, into: &header)
        return header
    }

    private func readTables(into header: inout Header) throws(StorageError) {
        header.size = try number(at: 24, "the size of the disk")
        header.encryption = bytes.bigEndian32(at: 32)
        header.l1EntryCount = Int(bytes.bigEndian32(at: 36))
        header.l1Offset = try number(at: 40, "the offset of the L1 table")
        header.refcountTableOffset = try number(at: 48, "the offset of the refcount table")
        header.refcountTableClusters = Int(bytes.bigEndian32(at: 56))
        header.snapshotCount = Int(bytes.bigEndian32(at: 60))
        header.snapshotsOffset = try number(at: 64, "the offset of the snapshots")
    }

    /// - Returns: the length of the header.
    private func readVersion3(into header: inout Header) throws(StorageError) -> Int {
        guard bytes.count >= 104 else { throw malformed(100, "the header is cut off") }
        header.incompatible = IncompatibleFeatures(rawValue: bytes.bigEndian64(at: 72))
        header.compatible = CompatibleFeatures(rawValue: bytes.bigEndian64(at: 80))
        header.autoclear = AutoclearFeatures(rawValue: bytes.bigEndian64(at: 88))
        header.refcountOrder = Int(bytes.bigEndian32(at: 96))
        let length = Int(bytes.bigEndian32(at: 100))
        guard length >= 104, length % 8 == 0, length <= min(header.clusterSize, Int64(bytes.count))
        else { throw malformed(100, "a header of \(length) bytes is not possible") }
        if length > 104 {
            guard let compression = Compression(rawValue: bytes[104]) else {
                throw .image(
                    ImageProblem(
                        .unsupported, path, at: 104,
                        "compression type \(bytes[104]) is not known",
                        remedy: "Those of zlib (0) and zstd (1) are."))
            }
            header.compression = compression
        }
        if length > 112 { header.unknownFields = Array(bytes[112..<length]) }
        return length
    }

    private func check(_ header: Header) throws(StorageError) {
        let unknown = header.incompatible.subtracting(.known)
        guard unknown.isEmpty else {
            throw .image(
                ImageProblem(
                    .unsupported, path, at: 72,
                    "it uses features that are not known here: "
                        + Self.names(of: unknown.rawValue),
                    remedy: "`qemu-img convert` makes an image without them."))
        }
        guard header.encryption == 0 else {
            throw .image(
                ImageProblem(
                    .unsupported, path, at: 32, "it is encrypted",
                    remedy: "`qemu-img convert` decrypts it."))
        }
        let hasType = header.incompatible.contains(.compressionType)
        guard hasType == (header.compression != .zlib) else {
            throw malformed(104, "the compression type and its feature bit disagree")
        }
        guard !header.hasSubclusters || header.clusterBits >= 14 else {
            throw malformed(20, "subclusters need clusters of 16 KiB or more")
        }
        guard header.refcountOrder <= 6 else {
            throw malformed(96, "refcounts of 2^\(header.refcountOrder) bits are not possible")
        }
        try checkTables(header)
    }

    private func checkTables(_ header: Header) throws(StorageError) {
        let needed = (header.size - 1) / header.l2Coverage + 1
        guard header.size == 0 || needed <= Int64(header.l1EntryCount) else {
            throw malformed(
                36, "the L1 table has \(header.l1EntryCount) entries, and the size needs \(needed)")
        }
        guard Int64(header.l1EntryCount) * 8 <= Header.l1BytesMax else {
            throw malformed(36, "an L1 table of \(header.l1EntryCount) entries is too large")
        }
        guard
            Int64(header.refcountTableClusters) * header.clusterSize
                <= Header.refcountTableBytesMax
        else {
            throw malformed(
                56, "a refcount table of \(header.refcountTableClusters) clusters is too large")
        }
        guard header.refcountTableClusters > 0 else {
            throw malformed(56, "there is no refcount table")
        }
        guard header.snapshotCount <= Header.snapshotsMax else {
            throw malformed(60, "\(header.snapshotCount) snapshots are too many")
        }
        let mask = header.clusterSize - 1
        for (offset, field, what) in [
            (header.l1Offset, 40, "L1 table"),
            (header.refcountTableOffset, 48, "refcount table"),
            (header.snapshotsOffset, 64, "snapshot table"),
        ] where offset & mask != 0 || offset >= Int64(EntryBits.offsetLimit) {
            throw malformed(Int64(field), "the \(what) can't be at \(offset)")
        }
    }

    private func readExtensions(
        from start: Int, limit: Int64, into header: inout Header
    ) throws(StorageError) {
        var offset = start
        let end = min(Int(header.clusterSize), bytes.count, Int(clamping: limit))
        while offset + 8 <= end {
            let magic = bytes.bigEndian32(at: offset)
            let length = Int(bytes.bigEndian32(at: offset + 4))
            // The end is marked by an extension like any other: QEMU looks at its length too.
            guard length <= end - offset - 8 else {
                throw malformed(
                    Int64(offset),
                    "a header extension of \(length) bytes goes beyond the header's cluster")
            }
            if magic == 0 { return }
            let data = Array(bytes[(offset + 8)..<(offset + 8 + length)])
            try check(data, of: HeaderExtension.Kind(magic), at: offset, header)
            header.extensions.append(
                HeaderExtension(kind: HeaderExtension.Kind(magic), data: data))
            offset += 8 + length.roundedUp(to: 8)
        }
    }

    private func check(
        _ data: [UInt8], of kind: HeaderExtension.Kind, at offset: Int, _ header: Header
    ) throws(StorageError) {
        if case .unknown = kind { return }
        // One reader takes the first and another the last.
        guard header.data(of: kind) == nil else {
            throw malformed(Int64(offset), "a header extension is there twice")
        }
        switch kind {
        case .encryption:
            throw malformed(Int64(offset), "it is not encrypted and has an extension for that")
        case .backingFormat where data.count > Header.backingFormatMax:
            throw malformed(
                Int64(offset), "the backing file's format can't have \(data.count) bytes")
        case .backingFormat, .dataFile: break
        // One for bitmaps that is broken keeps the image from being written, and can be removed.
        case .bitmaps, .featureNames, .unknown: return
        }
        guard !data.contains(0), String(validating: data, as: UTF8.self) != nil else {
            throw malformed(Int64(offset), "the name in a header extension is not text")
        }
    }

    private func readBackingFile(
        behind headerLength: Int, into header: inout Header
    ) throws(StorageError) {
        let offset = bytes.bigEndian64(at: 8)
        let length = Int(bytes.bigEndian32(at: 16))
        guard offset != 0 else { return }
        guard length <= Header.backingNameMax, length > 0 else {
            throw malformed(16, "the backing file's name can't have \(length) bytes")
        }
        let end = min(header.clusterSize, Int64(bytes.count))
        guard offset >= UInt64(headerLength), offset < UInt64(end),
            Int64(offset) + Int64(length) <= end
        else { throw malformed(8, "the backing file's name lies outside the first cluster") }
        let name = bytes[Int(offset)..<(Int(offset) + length)]
        guard !name.contains(0), let text = String(validating: name, as: UTF8.self) else {
            throw malformed(Int64(offset), "the backing file's name is not text")
        }
        header.backingFile = text
    }

    private func number(at offset: Int, _ what: String) throws(StorageError) -> Int64 {
        let value = bytes.bigEndian64(at: offset)
        guard value <= UInt64(Int64.max) else {
            throw malformed(Int64(offset), "\(what) can't be \(value)")
        }
        return Int64(value)
    }

    private func malformed(_ offset: Int64, _ what: String) -> StorageError {
        .image(ImageProblem(.malformed, path, at: offset, what))
    }

    private static func names(of bits: UInt64) -> String {
        (0..<64).filter { bits & (1 << $0) != 0 }.map { "bit \($0)" }.joined(separator: ", ")
    }
}
