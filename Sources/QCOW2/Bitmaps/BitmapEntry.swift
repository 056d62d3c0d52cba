internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// What the directory says about one bitmap.
///
/// The fields are as the image has them, whether or not they make sense: an entry that is not
/// understood is written back as it was. Whether the bitmap can be used is another question, see
/// `flaw`.
struct BitmapEntry: Equatable, Sendable {
    struct Flags: OptionSet, Equatable, Sendable {
        let rawValue: UInt32

        /// Somebody writes to the image and has not stored the bits yet, or died before he could.
        static let inUse = Flags(rawValue: 1 << 0)
        /// It takes marks.
        static let auto = Flags(rawValue: 1 << 1)
        /// Who does not know the extra data may use the bitmap all the same.
        static let extraDataCompatible = Flags(rawValue: 1 << 2)
        static let known: Flags = [.inUse, .auto, .extraDataCompatible]
    }

    static let fixedBytes = 24
    static let nameBytesMax = 1023
    /// Dirty tracking; no other type has been defined.
    static let dirtyTracking: UInt8 = 1

    /// Where the image has it, for messages.
    var offset: Int64 = 0
    var tableOffset: UInt64 = 0
    var tableEntryCount: UInt32 = 0
    var flags: Flags = []
    var type = dirtyTracking
    var granularityBits: UInt8 = 0
    var extraData: [UInt8] = []
    /// As bytes: names that are equal as text may differ in the image.
    var name: [UInt8] = []
    /// Why the bitmap can't be used; nil: it can, unless it is in use.
    var flaw: ImageProblem?

    /// Bytes in the directory.
    var byteCount: Int { Self.byteCount(name: name.count, extraData: extraData.count) }

    /// Bytes in the directory of an entry with so many bytes of name and extra data.
    static func byteCount(name: Int, extraData: Int) -> Int {
        (fixedBytes + extraData + name).roundedUp(to: 8)
    }

    var isEnabled: Bool { flags.contains(.auto) }
    var isInUse: Bool { flags.contains(.inUse) }

    var granularity: Granularity? {
        guard granularityBits < 63 else { return nil }
        return try? Granularity(bytes: 1 << Int64(granularityBits))
    }

    /// For messages: a foreign name may play tricks with terminals.
    var shownName: String { Self.shown(name) }

    static func shown(_ name: [UInt8]) -> String {
        String(decoding: name.map { $0 < 0x20 || $0 == 0x7f ? 0x3f : $0 }, as: UTF8.self)
    }

    func append(to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes += [UInt8](repeating: 0, count: Self.fixedBytes)
        bytes.put(tableOffset, at: start)
        bytes.put(tableEntryCount, at: start + 8)
        bytes.put(flags.rawValue, at: start + 12)
        bytes[start + 16] = type
        bytes[start + 17] = granularityBits
        bytes.put(UInt16(truncatingIfNeeded: name.count), at: start + 18)
        bytes.put(UInt32(truncatingIfNeeded: extraData.count), at: start + 20)
        bytes += extraData
        bytes += name
        bytes += [UInt8](repeating: 0, count: start + byteCount - bytes.count)
    }
}

/// How much a bitmap takes in an image.
struct BitmapExtent: Equatable {
    /// QEMU keeps no more bits than these bytes hold, and no reader has to believe in more.
    static let bytesMax: Int64 = 512 << 20

    let granuleCount: Int64
    /// Entries of the table, each for one cluster of bits.
    let clusterCount: Int64
    let clusterSize: Int64

    init(_ header: Header, granularityBits: UInt8) {
        let size = header.size
        granuleCount = size == 0 ? 0 : ((size - 1) >> Int64(granularityBits)) + 1
        clusterSize = header.clusterSize
        let bitsPerCluster = clusterSize * 8
        clusterCount = granuleCount.dividedRoundingUp(by: bitsPerCluster)
    }

    var isTooLarge: Bool { clusterCount > Self.bytesMax / clusterSize }
}

extension BitmapEntry {
    /// Throws what keeps the bitmap from being used.
    ///
    /// - Returns: its granularity.
    func requireUsable(_ path: FilePath) throws(StorageError) -> Granularity {
        if let flaw { throw .image(flaw) }
        if isInUse {
            throw .image(.inconsistentBitmap(path, at: offset + 12, name: shownName))
        }
        guard let granularity else {
            preconditionFailure("an entry without a flaw has a granularity")
        }
        return granularity
    }

    /// What keeps it from being used.
    func findFlaw(_ header: Header, fileLength: Int64, path: FilePath) -> ImageProblem? {
        broken(header, fileLength: fileLength, path: path) ?? unknown(path)
    }

    private func broken(
        _ header: Header, fileLength: Int64, path: FilePath
    ) -> ImageProblem? {
        func problem(_ at: Int64, _ what: String) -> ImageProblem {
            .brokenBitmap(path, at: offset + at, name: shownName, what)
        }
        if name.isEmpty { return problem(18, "its name is empty") }
        if name.count > Self.nameBytesMax {
            return problem(
                18, "its name has \(name.count) bytes, and \(Self.nameBytesMax) are the most")
        }
        let nameOffset = Int64(Self.fixedBytes + extraData.count)
        if name.contains(0) { return problem(nameOffset, "its name has a byte that is 0") }
        if String(validating: name, as: UTF8.self) == nil {
            return problem(nameOffset, "its name is not text")
        }
        if granularityBits > 63 {
            return problem(17, "a granularity of 2^\(granularityBits) bytes is not possible")
        }
        let count = Int64(tableEntryCount)
        let clusterSize = header.clusterSize
        if count == 0 || count > BitmapExtent.bytesMax / clusterSize {
            return problem(8, "a table of \(count) entries is not possible")
        }
        let mask = UInt64(clusterSize - 1)
        guard tableOffset != 0, tableOffset & mask == 0, tableOffset < EntryBits.offsetLimit,
            Int64(tableOffset) <= fileLength - count * 8
        else {
            return problem(
                0,
                "its table of \(count) entries can't be at \(tableOffset) "
                    + "in a file of \(fileLength) bytes")
        }
        let needed = BitmapExtent(header, granularityBits: granularityBits).clusterCount
        if !isInUse, granularity != nil, count != needed {
            return problem(
                8, "its table has \(count) entries, and the size of the disk needs \(needed)")
        }
        return nil
    }

    /// What a later version of the format may have brought.
    private func unknown(_ path: FilePath) -> ImageProblem? {
        func problem(_ at: Int64, _ what: String) -> ImageProblem {
            .unknownBitmap(path, at: offset + at, name: shownName, what)
        }
        let unknownFlags = flags.subtracting(.known)
        if !unknownFlags.isEmpty {
            return problem(
                12, "it has the unknown flags 0x\(String(unknownFlags.rawValue, radix: 16))")
        }
        if type != Self.dirtyTracking { return problem(16, "it is of the unknown type \(type)") }
        if granularity == nil {
            return problem(17, "a granularity of 2^\(granularityBits) bytes is not supported")
        }
        if !extraData.isEmpty, !flags.contains(.extraDataCompatible) {
            return problem(20, "it has extra data that is not known here")
        }
        return nil
    }
}
