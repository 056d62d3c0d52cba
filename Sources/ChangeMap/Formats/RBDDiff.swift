/// Little-endian numbers of a binary file, with a check before each.
private struct ByteReader {
    let bytes: [UInt8]
    let source: ChangeMapInput
    var position: Int

    var isAtEnd: Bool { position == bytes.count }

    mutating func number(byteCount: Int) throws(ChangeMapError) -> UInt64 {
        let start = position
        try skip(UInt64(byteCount))
        return bytes[start..<position].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Numbers with more than 63 bits stand for no size or offset.
    mutating func size(_ what: String) throws(ChangeMapError) -> Int64 {
        let start = position
        guard let size = Int64(exactly: try number(byteCount: 8)) else {
            throw source.malformed(.byte(start), "the \(what) is larger than any disk")
        }
        return size
    }

    mutating func skip(_ count: UInt64) throws(ChangeMapError) {
        guard count <= UInt64(bytes.count - position) else {
            throw source.malformed(
                .byte(position),
                "\(count) bytes should follow, and the file has only \(bytes.count - position)")
        }
        position += Int(count)
    }
}

/// The records of `rbd export-diff`: a tag, in v2 the length of the record, and its content.
private struct RBDDiffReader {
    var input: ByteReader
    let hasLengths: Bool
    var extents: ExtentCollector
    /// Whether the diff is from a snapshot on, and not from the beginning of the image.
    var hasStart = false
    var isComplete = false

    private var source: ChangeMapInput { input.source }

    mutating func readRecord() throws(ChangeMapError) {
        let start = input.position
        let place = ChangeMapError.Place.byte(start)
        let tag = UInt8(truncatingIfNeeded: try input.number(byteCount: 1))
        if tag == UInt8(ascii: "e") {
            isComplete = true
            return
        }
        let length = hasLengths ? try input.number(byteCount: 8) : nil
        let contentStart = input.position
        switch tag {
        case UInt8(ascii: "f"), UInt8(ascii: "t"):
            if tag == UInt8(ascii: "f") { hasStart = true }
            try input.skip(try input.number(byteCount: 4))
        case UInt8(ascii: "s"): try extents.declare(size: try input.size("size"), at: place)
        case UInt8(ascii: "w"), UInt8(ascii: "z"):
            guard extents.declaredSize != nil else {
                throw source.malformed(place, "the size of the image has to come before the data")
            }
            let offset = try input.size("offset")
            let count = try input.size("length")
            let hasData = tag == UInt8(ascii: "w")
            try extents.add(offset, count: count, hasData ? .copy : .zero, at: place)
            if hasData { try input.skip(UInt64(count)) }
        default:
            guard let length else {
                throw source.malformed(place, "there is no record with the tag \(tag)")
            }
            try input.skip(length)
        }
        if let length, UInt64(input.position - contentStart) != length {
            throw source.malformed(place, "the record isn't as long as it says, \(length) bytes")
        }
    }
}

extension ChangeMap {
    /// What changed in an RBD image since a snapshot, or all that was ever written to it.
    static func readRBDDiff(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        let banners = ["rbd diff v1\n", "rbd diff v2\n"]
        guard let banner = banners.first(where: { bytes.starts(with: $0.utf8) }) else {
            throw source.error(
                .unsupported, at: .byte(0), "the file doesn't begin with 'rbd diff v1' or v2",
                remedy: "Make it with `rbd export-diff`.")
        }
        let input = ByteReader(bytes: bytes, source: source, position: banner.utf8.count)
        var reader = RBDDiffReader(
            input: input, hasLengths: banner == banners[1],
            extents: ExtentCollector(source, order: .any))
        while !reader.isComplete {
            guard !reader.input.isAtEnd else {
                throw source.malformed(.byte(bytes.count), "the end record is missing")
            }
            try reader.readRecord()
        }
        guard reader.input.isAtEnd else {
            throw source.malformed(.byte(reader.input.position), "something follows the end record")
        }
        guard reader.extents.declaredSize != nil else {
            throw source.malformed(nil, "the size of the image is missing")
        }
        // Without a snapshot to start from, what isn't there was never written.
        return try reader.extents.finish(.rbdDiff, gaps: reader.hasStart ? .skip : .zero)
    }
}
