import BlockStorage
import DirtyBitmap
import QCOW2
import SystemPackage

/// A file that libFuzzer made up, in memory.
private final class FuzzedFile: ImageFile {
    let path: FilePath = "fuzz"
    let isWritable = false
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func length() throws(StorageError) -> Int64 { Int64(bytes.count) }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        precondition(offset >= 0 && count >= 0)
        let start = Int(min(offset, Int64(bytes.count)))
        return Array(bytes[start..<(start + min(count, bytes.count - start))])
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        preconditionFailure("a reader wrote")
    }

    func sync() throws(StorageError) {}
    func resize(to length: Int64) throws(StorageError) { preconditionFailure("a reader wrote") }
}

/// What libFuzzer calls with each input it makes up: `make fuzz`.
///
/// Files of few kilobytes have room for all that an image has, with clusters of 512 bytes. Whatever
/// the input is, reading ends with an error or with a disk that every way of reading agrees about.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    try? exercise(FuzzedFile(input))
    return 0
}

private func exercise(_ file: FuzzedFile) throws {
    let layer = try Layer(try Header.read(from: file), file: file)
    let chain = ImageChain(layers: [layer])
    let map = chain.map()
    let limit = min(map.size, 1 << 20)
    let bytes = try? chain.read(at: 0, count: Int(limit))
    var offset: Int64 = 0
    while offset < limit {
        let extent = try map.content(at: offset)
        precondition(extent.range.lowerBound == offset && !extent.range.isEmpty)
        let end = min(limit, extent.range.upperBound)
        var cursor = offset
        while cursor < end {
            let place = try map.locate(at: cursor, limit: end)
            precondition(place.length > 0 && place.length <= end - cursor)
            if let bytes {
                let part = Array(bytes[Int(cursor)..<Int(cursor + place.length)])
                try compare(place, part, file)
                precondition(extent.content == .data || part.allSatisfy { $0 == 0 })
            }
            cursor += place.length
        }
        offset = end
    }
    _ = try chain.allocation()
    _ = try chain.allocated(in: 0..<1, granularity: .max)
}

private func compare(_ place: SourcePlace, _ bytes: [UInt8], _ file: FuzzedFile) throws {
    switch place {
    case .zero: precondition(bytes.allSatisfy { $0 == 0 })
    case .stored(let extent):
        let stored = try file.read(at: extent.hostOffset, count: Int(extent.length))
        precondition(stored == bytes)
    case .compressed(let extent):
        precondition(extent.skip + Int(extent.length) <= extent.clusterLength)
    }
}
