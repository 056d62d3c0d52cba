import BlockStorage
import Glibc
import SystemPackage

/// One descriptor of a simulated disk, as a queue sees it.
struct SimulatedFile: Sendable {
    let disk: SimulatedDisk
    /// Offsets and lengths of reads and writes must be multiples of this; 1 stands for the page
    /// cache.
    let alignment: Int
    /// What zeroing has to be a multiple of, as on a disk.
    let blockSize: Int
    let isTarget: Bool
    /// It is a format's, so that fallocate would spoil it.
    var isImage = false
}

/// Where the bytes of a guest disk live on simulated disks: in one stretch as a raw image has them,
/// or scattered in pieces as formats do.
///
/// Each disk has two files, a direct one and one through the page cache, whose writes take an
/// unaligned end; `RawMap` does the same.
struct SimulatedMap: SourceMap, TargetMap {
    /// Where a piece begins, and in which form.
    struct Place {
        enum Form {
            case stored
            case zero
            /// Compressed to at most so many bytes.
            case compressed(Int)
        }

        let disk: Int
        let offset: Int64
        var form = Form.stored
    }

    let name: String
    let size: Int64
    let alignment: Int
    let disks: [SimulatedDisk]
    /// Guest bytes of each place but the last.
    let pieceSize: Int64
    let places: [Place]
    let isWritten: Bool
    var startsZero = false
    /// What is of one kind is told piece by piece, and not in one.
    var cutsExtents = false
    /// What reads as zeros is called data, and found only where it lives.
    var hidesZeros = false
    var unit: Int64 = 1
    /// Asking where this byte lives fails.
    var brokenOffset: Int64?

    /// A raw disk of `size` bytes.
    init(
        raw disk: SimulatedDisk, size: Int64? = nil, alignment: Int = 512, isTarget: Bool,
        startsZero: Bool = false
    ) {
        name = isTarget ? "target" : "source"
        self.size = size ?? Int64(disk.initialSize)
        self.alignment = alignment
        disks = [disk]
        pieceSize = .max
        places = [Place(disk: 0, offset: 0)]
        isWritten = isTarget
        self.startsZero = startsZero
    }

    /// A disk whose `index`th piece is at `places[index]`.
    init(
        scattered disks: [SimulatedDisk], size: Int64, pieceSize: Int64, places: [Place],
        alignment: Int, isTarget: Bool, startsZero: Bool = false
    ) {
        name = isTarget ? "target" : "source"
        self.size = size
        self.alignment = alignment
        self.disks = disks
        self.pieceSize = pieceSize
        self.places = places
        isWritten = isTarget
        self.startsZero = startsZero
    }

    var files: [SimulatedFile] {
        disks.flatMap { disk in
            [alignment, 1].map {
                SimulatedFile(
                    disk: disk, alignment: $0, blockSize: alignment, isTarget: isWritten)
            }
        }
    }

    /// Nobody opens these; their number is what counts.
    var endpoints: [Endpoint] { files.indices.map { .file(1000 + CInt($0)) } }

    var controlFile: Int { 1 }

    private var tailStart: Int64 { size % Int64(alignment) == 0 ? size : size & ~4095 }

    func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent {
        precondition(offset >= 0 && offset < limit && limit <= size)
        try check(offset)
        let (place, end) = piece(at: offset)
        return extent(offset, place, min(limit, end))
    }

    private func extent(_ offset: Int64, _ place: Place, _ limit: Int64) -> HostExtent {
        let isTail = isWritten && offset >= tailStart
        let stop = min(limit, isWritten && !isTail ? tailStart : size)
        return HostExtent(
            file: place.disk * 2 + (isTail ? 1 : 0), hostOffset: place.offset,
            length: stop - offset, alignment: isTail ? 1 : alignment)
    }

    func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
        precondition(offset >= 0 && offset < limit && limit <= size)
        try check(offset)
        let (place, end) = piece(at: offset)
        let stop = min(limit, end)
        switch place.form {
        case .stored: return .stored(extent(offset, place, stop))
        case .zero: return .zero(length: stop - offset)
        case .compressed(let length):
            let skip = Int(offset % pieceSize)
            return .compressed(
                CompressedExtent(
                    file: place.disk * 2, hostOffset: place.offset, compressedLength: length,
                    alignment: alignment, compression: .zlib,
                    clusterLength: skip + Int(end - offset), skip: skip, length: stop - offset))
        }
    }

    var compressedLengthMax: Int {
        places.reduce(0) { longest, place in
            if case .compressed(let length) = place.form { max(longest, length) } else { longest }
        }
    }

    func content(at offset: Int64) throws(StorageError) -> StorageExtent {
        try check(offset)
        var cursor = offset
        var isZero: Bool?
        while cursor < size {
            let (place, end) = piece(at: cursor)
            let found = content(place, count: Int(end - cursor))
            if found.isZero != isZero ?? found.isZero { break }
            isZero = found.isZero
            cursor += Int64(found.count)
            if cutsExtents || cursor < end { break }
        }
        return StorageExtent(range: offset..<cursor, content: isZero == true ? .zero : .data)
    }

    private func content(_ place: Place, count: Int) -> (isZero: Bool, count: Int) {
        switch place.form {
        case .compressed: return (false, count)
        case .zero: return (!hidesZeros, count)
        case .stored:
            let start = Int(place.offset)
            let found = disks[place.disk].content(at: start, limit: start + count)
            return (found.isZero, found.end - start)
        }
    }

    func readsAsZero(_ range: Range<Int64>) -> Bool {
        var cursor = range.lowerBound
        while cursor < range.upperBound {
            let (place, end) = piece(at: cursor)
            let count = min(end, range.upperBound) - cursor
            let found = disks[place.disk].content(
                at: Int(place.offset), limit: Int(place.offset + count))
            if !found.isZero || Int64(found.end) < place.offset + count { return false }
            cursor += count
        }
        return true
    }

    func sizeChange() throws(StorageError) -> SizeChange? {
        for disk in disks where disk.currentSize < disk.initialSize {
            return SizeChange(from: size, to: Int64(disk.currentSize))
        }
        return nil
    }

    /// The guest's bytes, as reads see them or as the next power cut leaves them.
    func bytes(durable: Bool = false) -> [UInt8] {
        let images = disks.map { durable ? $0.durableBytes : $0.visibleBytes }
        var result: [UInt8] = []
        result.reserveCapacity(Int(size))
        while result.count < Int(size) {
            let (place, end) = piece(at: Int64(result.count))
            let start = Int(place.offset)
            let count = Int(end) - result.count
            let image = images[place.disk]
            switch place.form {
            case .stored: result += image[start..<(start + count)]
            case .zero: result += [UInt8](repeating: 0, count: count)
            case .compressed(let length):
                let compressed = image[start..<min(start + length, image.count)]
                guard let bytes = RunLengthCode.decompress(compressed, count: count) else {
                    preconditionFailure("the simulation compressed a piece wrongly")
                }
                result += bytes
            }
        }
        return result
    }

    /// Where a guest byte lives, and where its piece ends in the guest.
    func piece(at offset: Int64) -> (Place, end: Int64) {
        let index = Int(offset / pieceSize)
        let start = Int64(index) * pieceSize
        let place = places[index]
        let end = pieceSize == .max ? size : min(start + pieceSize, size)
        // Of a compressed piece, every byte is where its first is.
        if case .compressed = place.form { return (place, end) }
        return (
            Place(disk: place.disk, offset: place.offset + offset - start, form: place.form), end
        )
    }

    private func check(_ offset: Int64) throws(StorageError) {
        guard let brokenOffset, offset >= brokenOffset else { return }
        throw .systemCall(call: "lseek", path: FilePath(name), code: .ioError, offset: offset)
    }
}
