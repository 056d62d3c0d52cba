import Glibc
internal import SystemPackage

/// A stretch of a disk or image that needs one kind of treatment.
public struct StorageExtent: Equatable, Sendable {
    public enum Content: Sendable, Equatable {
        /// Has to be read to be known.
        case data
        /// Reads as zeros without being read.
        case zero
    }

    public let range: Range<Int64>
    public let content: Content

    public init(range: Range<Int64>, content: Content) {
        self.range = range
        self.content = content
    }
}

/// Finds the holes of a file by SEEK_DATA and SEEK_HOLE.
///
/// Whatever looks odd is taken for data: reading a hole costs time, skipping data costs the data.
struct ExtentScanner {
    let descriptor: CInt
    let size: Int64

    /// Shorter holes are read along with the data around them: a request more costs more than
    /// 64 KiB of zeros, and an image of many small holes must not become as many requests.
    static let holeBytesMin: Int64 = 64 * 1024
    /// The most holes folded into one extent, so that one question has a bounded cost:
    /// two seeks a hole, about half a microsecond each.
    static let foldsMax = 256

    /// What begins at `offset`.
    func extent(at offset: Int64) -> StorageExtent {
        precondition(offset >= 0 && offset < size, "offset \(offset) is outside 0..<\(size)")
        switch nextData(from: offset) {
        case .none(let isHole):
            return StorageExtent(range: offset..<size, content: isHole ? .zero : .data)
        case .at(let data) where data >= size:
            return StorageExtent(range: offset..<size, content: .zero)
        case .at(let data) where data - offset >= Self.holeBytesMin:
            return StorageExtent(range: offset..<data, content: .zero)
        case .at(let data):
            return StorageExtent(range: offset..<endOfData(from: data), content: .data)
        }
    }

    /// Follows data that begins at `start` to the first hole worth skipping.
    private func endOfData(from start: Int64) -> Int64 {
        var cursor = start
        for _ in 0..<Self.foldsMax {
            guard let hole = nextHole(from: cursor) else { return size }
            guard hole < size else { return size }
            switch nextData(from: hole) {
            case .none(let isHole): return isHole ? hole : size
            case .at(let data):
                if data - hole >= Self.holeBytesMin || data >= size { return hole }
                cursor = data
            }
        }
        // The next question goes on from here; the piece is long enough as it is.
        return cursor
    }

    private enum NextData {
        case at(Int64)
        /// No data follows; `isHole` only if the kernel said so in the one way that means it.
        case none(isHole: Bool)
    }

    private func nextData(from offset: Int64) -> NextData {
        do throws(Errno) {
            let data = try SystemCalls.seek(descriptor, to: offset, whence: SEEK_DATA)
            return data >= offset ? .at(data) : .none(isHole: false)
        } catch {
            // ENXIO means "a hole to the end" and also "past the end": ask how long the file is,
            // for one that shrank has lost data, not gained a hole.
            guard error == .noSuchAddressOrDevice,
                let end = try? SystemCalls.seek(descriptor, to: 0, whence: SEEK_END)
            else { return .none(isHole: false) }
            return .none(isHole: end >= size)
        }
    }

    /// Nil if there is no sensible answer.
    private func nextHole(from offset: Int64) -> Int64? {
        guard let hole = try? SystemCalls.seek(descriptor, to: offset, whence: SEEK_HOLE),
            hole > offset
        else { return nil }
        return hole
    }

    /// True if the range lies inside the file and wholly in a hole (or unwritten space).
    func isHole(_ range: Range<Int64>) -> Bool {
        guard !range.isEmpty else { return true }
        guard range.lowerBound >= 0,
            let end = try? SystemCalls.seek(descriptor, to: 0, whence: SEEK_END),
            range.upperBound <= end
        else { return false }
        switch nextData(from: range.lowerBound) {
        case .at(let data): return data >= range.upperBound
        case .none(let isHole): return isHole
        }
    }
}
