internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// A snapshot inside an image, as its table lists it. What it holds is not read.
public struct ImageSnapshot: Sendable, Equatable {
    /// The number or word that tells it from the others.
    public let id: String
    /// What its maker called it.
    public let name: String
    /// Bytes of the disk then; nil if the image does not say.
    public let size: Int64?
    /// When it was made, in seconds since 1970.
    public let seconds: UInt32
    /// The nanoseconds on top.
    public let nanoseconds: UInt32
    /// Bytes of the machine's state, kept behind the disk; 0 if there is none.
    public let stateBytes: Int64
    package let l1Offset: Int64
    package let l1EntryCount: Int
}

/// Reads the table of snapshots.
struct SnapshotTable {
    let snapshots: [ImageSnapshot]
    /// Bytes of the table in the file.
    let length: Int64

    static let bytesMax: Int64 = 64 << 20
    private static let extraMax = 1024
    private static let entryLength = 40
    /// An entry with the longest id and name fits in twice.
    private static let windowLength = 512 << 10

    init(_ header: Header, in file: any ImageFile) throws(StorageError) {
        var snapshots: [ImageSnapshot] = []
        var window: [UInt8] = []
        var windowStart = header.snapshotsOffset
        var offset = header.snapshotsOffset
        for index in 0..<header.snapshotCount {
            let problem = { (what: String) -> StorageError in
                .image(
                    ImageProblem(
                        .malformed, file.path, at: offset, "snapshot \(index + 1): \(what)"))
            }
            var position = Int(offset - windowStart)
            if position + Self.windowLength / 2 > window.count {
                window = try file.read(at: offset, count: Self.windowLength)
                windowStart = offset
                position = 0
            }
            guard window.count - position >= Self.entryLength else {
                throw problem("the file ends in its entry")
            }
            let entry = Entry(window, at: position)
            guard entry.extraLength <= Self.extraMax else {
                throw problem("\(entry.extraLength) bytes of extra data are not possible")
            }
            guard entry.length <= window.count - position else {
                throw problem("the file ends in its entry")
            }
            snapshots.append(entry.snapshot(header))
            offset += Int64(entry.length.roundedUp(to: 8))
            guard offset - header.snapshotsOffset <= Self.bytesMax else {
                throw problem("the table of snapshots is longer than 64 MiB")
            }
        }
        self.snapshots = snapshots
        length = offset - header.snapshotsOffset
    }

    private struct Entry {
        let bytes: [UInt8]
        let start: Int

        init(_ bytes: [UInt8], at start: Int) {
            self.bytes = bytes
            self.start = start
        }

        var idLength: Int { Int(bytes.bigEndian16(at: start + 12)) }
        var nameLength: Int { Int(bytes.bigEndian16(at: start + 14)) }
        var extraLength: Int { Int(bytes.bigEndian32(at: start + 36)) }
        var length: Int { 40 + extraLength + idLength + nameLength }

        func snapshot(_ header: Header) -> ImageSnapshot {
            let id = start + 40 + extraLength
            let name = id + idLength
            var stateBytes = UInt64(bytes.bigEndian32(at: start + 32))
            if extraLength >= 8 { stateBytes = bytes.bigEndian64(at: start + 40) }
            let size =
                extraLength >= 16 ? Int64(clamping: bytes.bigEndian64(at: start + 48)) : nil
            return ImageSnapshot(
                id: String(decoding: bytes[id..<name], as: UTF8.self),
                name: String(decoding: bytes[name..<(name + nameLength)], as: UTF8.self),
                size: size,
                seconds: bytes.bigEndian32(at: start + 16),
                nanoseconds: bytes.bigEndian32(at: start + 20),
                stateBytes: Int64(clamping: stateBytes),
                l1Offset: Int64(clamping: bytes.bigEndian64(at: start)),
                l1EntryCount: Int(bytes.bigEndian32(at: start + 8)))
        }
    }
}
