import BlockStorage
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// QEMU's own tools, which say what an image holds.
enum Qemu {
    static let isInstalled = Shell.has("qemu-img", "qemu-io")
    static let why: Comment = "needs qemu-img and qemu-io"

    static func create(
        _ path: String, size: Int64?, _ options: [String] = [], backing: (String, String)? = nil
    ) throws {
        var arguments = ["create", "-q", "-f", "qcow2"]
        if !options.isEmpty { arguments += ["-o", options.joined(separator: ",")] }
        if let backing { arguments += ["-b", backing.0, "-F", backing.1] }
        arguments.append(path)
        if let size { arguments.append(String(size)) }
        try Shell.run("qemu-img", arguments)
    }

    /// Runs commands of qemu-io; all of them must succeed.
    static func io(_ path: String, _ commands: [String], format: String = "qcow2") throws {
        guard !commands.isEmpty else { return }
        let output = try Shell.run(
            "qemu-io",
            ["--image-opts", "driver=\(format),file.filename=\(path),discard=unmap"]
                + commands.flatMap { ["-c", $0] })
        for word in ["failed", "rror", "invalid"] where output.contains(word) {
            throw ToolTrouble(command: "qemu-io \(commands)", output: output)
        }
    }

    /// All bytes of the disk in an image.
    static func bytes(of path: String, in scratch: Scratch) throws -> [UInt8] {
        let raw = scratch.path("oracle-\(UUID().uuidString).raw")
        defer { unlink(raw) }
        try Shell.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
        return try read(raw)
    }

    static func read(_ path: String) throws -> [UInt8] {
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        return [UInt8](data)
    }

    struct MapEntry: Decodable {
        let start: Int64
        let length: Int64
        let depth: Int
        let present: Bool
        let zero: Bool
        let data: Bool
    }

    static func map(_ path: String) throws -> [MapEntry] {
        let text = try Shell.run("qemu-img", "map", "-f", "qcow2", "--output=json", path)
        return try JSONDecoder().decode([MapEntry].self, from: Data(text.utf8))
    }
}

/// What a tool said that ended well and still failed.
struct ToolTrouble: Error {
    let command: String
    let output: String
}

/// What the reader makes of an image, found in every way that it offers.
struct ReadBack {
    let chain: ImageChain

    init(_ path: String, cache: CacheChoice = .automatic) throws {
        chain = try ImageChain.open(
            FilePath(path), options: ChainOptions(format: .qcow2, cache: cache))
    }

    init(_ chain: ImageChain) { self.chain = chain }

    /// By `ImageChain.read`, in pieces that end anywhere.
    func bytes(layers: Range<Int>? = nil, size: Int64? = nil) throws -> [UInt8] {
        var all: [UInt8] = []
        let size = size ?? chain.size
        var step = 100_001
        while Int64(all.count) < size {
            let count = Int(min(Int64(step), size - Int64(all.count)))
            all += try chain.read(at: Int64(all.count), count: count, layers: layers)
            step = step == 100_001 ? 333_333 : 100_001
        }
        return all
    }

    /// By a walk of the map, as an engine does it: questions about content, then places, then
    /// reads from the descriptors that keep to the alignment.
    func mappedBytes(
        _ map: ChainMap, step: Int64 = 1 << 20
    ) throws -> [UInt8] {
        var all = [UInt8](repeating: 0xee, count: Int(map.size))
        var offset: Int64 = 0
        while offset < map.size {
            let extent = try map.content(at: offset)
            #expect(extent.range.lowerBound == offset && !extent.range.isEmpty)
            #expect(extent.range.upperBound <= map.size)
            if extent.content == .zero {
                let range = Int(extent.range.lowerBound)..<Int(extent.range.upperBound)
                all.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
            } else {
                var cursor = offset
                while cursor < extent.range.upperBound {
                    let limit = min(map.size, cursor / step * step + step)
                    let place = try map.locate(at: cursor, limit: limit)
                    try #require(place.length > 0 && cursor + place.length <= limit)
                    let bytes = try fetch(place, at: cursor, map)
                    all.replaceSubrange(
                        Int(cursor)..<(Int(cursor) + bytes.count), with: bytes)
                    cursor += place.length
                }
            }
            offset = extent.range.upperBound
        }
        return all
    }

    private func fetch(_ place: SourcePlace, at offset: Int64, _ map: ChainMap) throws -> [UInt8] {
        switch place {
        case .zero(let length):
            return [UInt8](repeating: 0, count: Int(length))
        case .stored(let extent):
            let unit = Int64(extent.alignment)
            #expect(extent.hostOffset % unit == 0)
            #expect(unit == 1 || offset % unit == 0)
            #expect(unit == 1 || unit == map.alignment)
            #expect(extent.length % unit == 0 || offset + extent.length == map.size)
            let rounded = (extent.length + unit - 1) / unit * unit
            let bytes = try pull(try map.descriptor(extent.file), extent.hostOffset, Int(rounded))
            try #require(bytes.count >= extent.length)
            return Array(bytes[..<Int(extent.length)])
        case .compressed(let extent):
            #expect(extent.compressedLength <= map.compressedLengthMax)
            let unit = Int64(extent.alignment)
            let start = extent.hostOffset / unit * unit
            let end = (extent.hostOffset + Int64(extent.compressedLength) + unit - 1) / unit * unit
            #expect(end - start <= Int64(map.compressedLengthMax))
            let bytes = try pull(try map.descriptor(extent.file), start, Int(end - start))
            let packed = Array(
                bytes.dropFirst(Int(extent.hostOffset - start)).prefix(extent.compressedLength))
            let cluster = try #require(
                Decompressor().decompress(packed, extent.compression, length: extent.clusterLength))
            return Array(cluster[extent.skip..<(extent.skip + Int(extent.length))])
        }
    }

    /// Reads into aligned memory, as direct requests need it.
    private func pull(_ descriptor: CInt, _ offset: Int64, _ count: Int) throws -> [UInt8] {
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 65536, max(count, 1)) == 0, let memory else {
            throw Errno.noMemory
        }
        defer { free(memory) }
        var done = 0
        while done < count {
            let result = pread(descriptor, memory + done, count - done, Int(offset) + done)
            guard result >= 0 else { throw Errno(rawValue: errno) }
            if result == 0 { break }
            done += result
        }
        return Array(UnsafeRawBufferPointer(start: memory, count: done))
    }
}

/// Where two arrays differ first, for a message that can be read.
func firstDifference(_ left: [UInt8], _ right: [UInt8]) -> String? {
    if left == right { return nil }
    for (index, pair) in zip(left, right).enumerated() where pair.0 != pair.1 {
        return "at \(index): \(pair.0), not \(pair.1)"
    }
    return "\(left.count) bytes, not \(right.count)"
}

/// Compares every way of reading with what QEMU says.
func expectSameAsQemu(
    _ path: String, in scratch: Scratch, cache: CacheChoice = .automatic, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let expected = try Qemu.bytes(of: path, in: scratch)
    let found = try ReadBack(path, cache: cache)
    #expect(
        firstDifference(try found.bytes(), expected) == nil, comment,
        sourceLocation: sourceLocation)
    let map = found.chain.map()
    for step: Int64 in [1 << 20, 3 << 12] {
        #expect(
            firstDifference(try found.mappedBytes(map, step: step), expected) == nil, comment,
            sourceLocation: sourceLocation)
    }
}

extension ChainMap {
    /// The descriptor behind one of its endpoints.
    fileprivate func descriptor(_ file: Int) throws -> CInt {
        guard case .file(let descriptor) = endpoints[file] else {
            throw NotAFile()
        }
        return descriptor
    }

    private struct NotAFile: Error {}
}
