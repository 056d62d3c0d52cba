/// What a store starts with, twice: which generation counts, and where its directory is.
struct Superblock: Equatable, Sendable {
    /// Of the format that the directory is in. A commit writes the newest.
    var version: UInt32 = Self.version
    var generation: UInt64
    /// 16 bytes, made with the store.
    var uuid: [UInt8]
    var deviceSize: Int64
    /// Blocks of the file that this generation may refer to.
    var blockCount: UInt64
    var directory: Reference
    /// Bytes.
    var directoryLength: UInt64

    static let byteCount = 512
    static let slotCount = 2
    static let version: UInt32 = 2
    /// The oldest that can be read.
    static let versionMin: UInt32 = 1
    static let magic: [UInt8] = Array("RMBITMAP".utf8)
    private static let byteOrderMark: UInt32 = 0x0102_0304
    private static let checksumOffset = 504

    /// The most blocks that a store may have, 128 GiB: keeps the work of opening one bounded.
    static let blockCountMax: UInt64 = 1 << 25
    /// The most bytes of a directory.
    static let directoryLengthMax: UInt64 = 1 << 26

    /// A whole sector, so that it is written whole or not at all.
    func encoded() -> [UInt8] {
        var bytes = Self.magic
        bytes.append(littleEndian: Self.byteOrderMark)
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: UInt32(blockBytes))
        bytes.append(littleEndian: 0 as UInt32)
        bytes.append(littleEndian: generation)
        bytes += uuid
        bytes.append(littleEndian: deviceSize)
        bytes.append(littleEndian: blockCount)
        bytes.append(littleEndian: directory.offset)
        bytes.append(littleEndian: directoryLength)
        bytes.append(littleEndian: directory.checksum)
        bytes += Array(repeating: 0, count: Self.checksumOffset - bytes.count)
        bytes.append(littleEndian: xxHash64(bytes))
        return bytes
    }

    /// What one slot may turn out to be.
    enum Slot: Equatable {
        case valid(Superblock)
        /// Not one of ours, or damaged.
        case invalid(isOurs: Bool, why: String)
        /// Whole, and not for this program.
        case unsupported(what: String)
    }

    static func decode(_ bytes: [UInt8]) -> Slot {
        guard Array(bytes[0..<8]) == magic else {
            return .invalid(isOurs: false, why: "it does not start with the mark of a store")
        }
        let mark = bytes.number(at: 8, as: UInt32.self)
        if mark == byteOrderMark.byteSwapped {
            return .unsupported(what: "it was written in another byte order")
        }
        guard xxHash64(Array(bytes[..<checksumOffset])) == bytes.number(at: 504, as: UInt64.self)
        else { return .invalid(isOurs: true, why: "the superblock's checksum is wrong") }
        guard mark == byteOrderMark else {
            return .unsupported(what: "it has a byte order mark of another kind")
        }
        let version = bytes.number(at: 12, as: UInt32.self)
        guard (versionMin...Self.version).contains(version) else {
            return .unsupported(
                what: "its format has version \(version), and \(Self.version) is the newest known")
        }
        let blockSize = bytes.number(at: 16, as: UInt32.self)
        guard blockSize == blockBytes else {
            return .unsupported(what: "it has blocks of \(blockSize) bytes")
        }
        let found = Superblock(
            version: version, generation: bytes.number(at: 24, as: UInt64.self),
            uuid: Array(bytes[32..<48]),
            deviceSize: bytes.number(at: 48, as: Int64.self),
            blockCount: bytes.number(at: 56, as: UInt64.self),
            directory: Reference(
                offset: bytes.number(at: 64, as: UInt64.self),
                checksum: bytes.number(at: 80, as: UInt64.self)),
            directoryLength: bytes.number(at: 72, as: UInt64.self))
        if let why = found.absurdity { return .invalid(isOurs: true, why: why) }
        return .valid(found)
    }

    /// What can't be, although the checksum is right.
    private var absurdity: String? {
        if deviceSize < 0 { return "the size of the disk is negative" }
        if generation == 0 || generation == .max { return "generation \(generation) can't be" }
        guard (3...Self.blockCountMax).contains(blockCount) else {
            return "\(blockCount) blocks can't be"
        }
        guard (1...Self.directoryLengthMax).contains(directoryLength) else {
            return "a directory of \(directoryLength) bytes can't be"
        }
        let end = blockCount * UInt64(blockBytes)
        guard directory.offset % UInt64(blockBytes) == 0,
            directory.offset >= UInt64(Self.slotCount * blockBytes),
            directory.offset < end, directoryLength <= end - directory.offset
        else { return "the directory can't be at \(directory.offset)" }
        return nil
    }
}
