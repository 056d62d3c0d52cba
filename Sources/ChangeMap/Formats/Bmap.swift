/// The numbers before the block map, and the ranges in it.
private struct BmapHandler: MapElementHandler {
    /// The elements with text that matter; the rest is for people or newer versions.
    private static let texts: Set<String> = [
        "ImageSize", "BlockSize", "BlocksCount", "MappedBlocksCount", "ChecksumType",
        "BmapFileChecksum", "BmapFileSHA1",
    ]

    let source: ChangeMapInput
    var version = (major: 0, minor: 0)
    var values: [String: (text: String, place: ChangeMapError.Place)] = [:]
    var extents: ExtentCollector?
    var mappedCount: Int64 = 0
    var isInRange = false

    init(_ source: ChangeMapInput) { self.source = source }

    mutating func open(_ element: MapElement) throws(ChangeMapError) {
        switch (element.path.count, element.name) {
        case (0, "bmap"): try readVersion(element)
        case (1, "BlockMap"):
            guard extents == nil else { throw element.unexpected(source) }
            extents = try startOfMap(element.place)
        case (2, "Range") where element.path[1] == "BlockMap": isInRange = true
        case (1, _): return
        default: throw element.unexpected(source)
        }
    }

    private mutating func readVersion(_ element: MapElement) throws(ChangeMapError) {
        let text = element.attributes["version"] ?? ""
        let numbers = text.split(separator: ".").compactMap { Int($0) }
        guard numbers.count == 2, numbers[0] == 1 ? numbers[1] >= 2 : numbers[0] == 2 else {
            throw source.error(
                .unsupported, at: element.place,
                "bmap version '\(excerpt(text.utf8))' isn't one of 1.2 to 2.0",
                remedy: "Make it with a version of bmaptool that writes one of these.")
        }
        version = (numbers[0], numbers[1])
    }

    private func startOfMap(
        _ place: ChangeMapError.Place
    ) throws(ChangeMapError) -> ExtentCollector {
        let imageSize = try number("ImageSize", place)
        let blockSize = try number("BlockSize", place)
        let count = try number("BlocksCount", place)
        guard blockSize > 0, count == imageSize / blockSize + (imageSize % blockSize).signum()
        else {
            throw source.malformed(
                place, "\(count) blocks of \(blockSize) bytes don't make \(imageSize) bytes")
        }
        try BlockSizeRule.bmap.check(blockSize, source, at: place)
        var extents = ExtentCollector(source, order: .ascending, unit: blockSize)
        try extents.declare(size: imageSize, at: place)
        return extents
    }

    /// The number in an element that has to come before the map.
    func number(_ key: String, _ place: ChangeMapError.Place) throws(ChangeMapError) -> Int64 {
        guard let value = values[key] else {
            throw source.malformed(place, "there is no <\(key)> before the map")
        }
        return try source.number(value.text.utf8, key, at: value.place)
    }

    mutating func close(_ name: String, text: String, line: Int) throws(ChangeMapError) {
        let place = ChangeMapError.Place.line(line)
        let content = text.utf8.split { isBlank($0) || $0 == 0x0A }
        if isInRange {
            isInRange = false
            try addRange(content, place)
        } else if Self.texts.contains(name) {
            guard content.count == 1 else {
                throw source.malformed(place, "<\(name)> has no value, or more than one")
            }
            guard values[name] == nil else {
                throw source.malformed(place, "<\(name)> is there twice")
            }
            values[name] = (String(decoding: content[0], as: UTF8.self), place)
        }
    }

    /// `first-last`, both inclusive, or one number.
    private mutating func addRange(
        _ content: [Substring.UTF8View], _ place: ChangeMapError.Place
    ) throws(ChangeMapError) {
        let ends = content.count == 1 ? content[0].split(separator: UInt8(ascii: "-")) : []
        guard ends.count == 1 || ends.count == 2 else {
            throw source.malformed(place, "a <Range> is 'FIRST-LAST' or one number")
        }
        let first = try source.number(ends[0], "first block", at: place)
        let last = try source.number(ends[ends.count - 1], "last block", at: place)
        let (count, overflows) = (last - first).addingReportingOverflow(1)
        guard !overflows else { throw source.malformed(place, "the <Range> is too long") }
        try extents?.add(first, count: count, .copy, at: place)
        // Ranges don't overlap and end with the disk, so that the sum can't overflow.
        mappedCount += count
    }
}

extension ChangeMap {
    /// The blocks of an image that have to be written. Nothing is said of the others: they may
    /// hold anything, and are not zero.
    static func readBmap(_ bytes: [UInt8], _ source: ChangeMapInput) throws(ChangeMapError)
        -> ChangeMap
    {
        var handler = BmapHandler(source)
        try readXML(bytes, source, &handler)
        let warnings = try checkBmapSum(bytes, source, handler)
        guard let extents = handler.extents else { throw source.malformed(nil, "no <BlockMap>") }
        if handler.values["MappedBlocksCount"] != nil {
            let expected = try handler.number("MappedBlocksCount", .line(1))
            guard handler.mappedCount == expected else {
                throw source.malformed(
                    nil, "the map has \(handler.mappedCount) blocks, and should have \(expected)")
            }
        }
        return try extents.finish(.bmap, gaps: .skip, warnings: warnings)
    }

    /// Checks the sum of the file itself, in which the digits of the sum count as zeros.
    ///
    /// - Returns: warnings.
    private static func checkBmapSum(
        _ bytes: [UInt8], _ source: ChangeMapInput, _ handler: BmapHandler
    ) throws(ChangeMapError) -> [String] {
        guard handler.version.major > 1 || handler.version.minor >= 3 else {
            return ["\(source.name) is of a version without a checksum: damage can't be seen."]
        }
        let isOld = handler.version == (1, 3)
        let type = isOld ? "sha1" : handler.values["ChecksumType"]?.text ?? ""
        let key = isOld ? "BmapFileSHA1" : "BmapFileChecksum"
        guard let value = handler.values[key] else {
            throw source.malformed(nil, "there is no <\(key)>")
        }
        let digests: [String: any Digest.Type] = ["sha1": SHA1.self, "sha256": SHA256.self]
        guard let digest = digests[type] else {
            throw source.error(
                .unsupported, "checksums of the type '\(excerpt(type.utf8))' can't be checked",
                remedy: "Make the map with sha256, as bmaptool does.")
        }
        let sum = value.text
        guard let place = word(sum, in: bytes) else {
            throw source.malformed(value.place, "<\(key)> has no checksum")
        }
        let zeros = [UInt8](repeating: UInt8(ascii: "0"), count: place.count)
        let actual = digest.hexadecimal(
            of: [bytes[..<place.lowerBound], zeros[...], bytes[place.upperBound...]])
        guard actual == sum.lowercased() else {
            throw source.error(
                .untrustworthy, at: value.place,
                "the file's checksum is \(actual), and it should be \(excerpt(sum.utf8))",
                remedy: "It was damaged or edited: fetch or make it again.")
        }
        return []
    }

    /// Where `word` stands on its own for the first time. A search for it as a part of others
    /// would take long in files that are made to make it take long.
    private static func word(_ word: String, in bytes: [UInt8]) -> Range<Int>? {
        func isInWord(_ byte: UInt8) -> Bool {
            !XMLScanner.isBlank(byte) && byte != UInt8(ascii: "<") && byte != UInt8(ascii: ">")
        }
        var position = 0
        while let start = bytes[position...].firstIndex(where: isInWord) {
            let end = bytes[start...].firstIndex { !isInWord($0) } ?? bytes.count
            if bytes[start..<end].elementsEqual(word.utf8) { return start..<end }
            position = end
        }
        return nil
    }
}
