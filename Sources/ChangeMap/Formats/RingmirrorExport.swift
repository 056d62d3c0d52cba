import DirtyBitmap

/// Our own export of a bitmap: text that people can read, and that shows when it is cut off.
enum RingmirrorExport {
    static let magic = "ringmirror bitmap 1"

    /// The name without bytes that would end a field, a line, or what comes before a comment.
    static func encoded(_ name: String) -> String {
        var text: [UInt8] = []
        let hex = Array("0123456789ABCDEF".utf8)
        for byte in name.utf8 {
            if byte <= 32 || byte == 127 || byte == UInt8(ascii: "%") || byte == UInt8(ascii: "#") {
                text += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            } else {
                text.append(byte)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The name as it was before `encoded`; nil if it can't have come from there.
    static func decoded(_ field: ArraySlice<UInt8>) -> String? {
        var bytes: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, let value = UInt8(digits, radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension ChangeMap {
    static func readRingmirror(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        var lines = TextLines(bytes)
        let magic = lines.next()
        guard let magic, (0..<3).map(magic.text).joined(separator: " ") == RingmirrorExport.magic
        else {
            throw source.error(
                .unsupported, at: .line(1), "the first line isn't '\(RingmirrorExport.magic)'",
                remedy: "If it was written by a later version of ringmirror, use that.")
        }
        func header(_ key: String, _ line: TextLines.Line?) throws(ChangeMapError) -> Int64 {
            guard let line, line.text(0) == key, line.fields.count == 2 else {
                throw source.malformed(
                    .line(lines.lastNumber), "the line '\(key) NUMBER' is missing")
            }
            return try source.number(line.fields[1], key, at: line.place)
        }

        var line = lines.next()
        var name: String?
        if let named = line, named.text(0) == "name" {
            name = named.fields.count == 2 ? RingmirrorExport.decoded(named.fields[1]) : nil
            guard name != nil else { throw source.malformed(named.place, "the name is damaged") }
            line = lines.next()
        }
        var extents = ExtentCollector(source, order: .ascending)
        let size = try header("size", line)
        try extents.declare(size: size, at: .line(lines.lastNumber))
        let bytesPerBit = try header("granularity", lines.next())
        guard let granularity = try? Granularity(bytes: bytesPerBit) else {
            throw source.malformed(
                .line(lines.lastNumber), "\(bytesPerBit) bytes can't be a granularity")
        }

        var count: Int64 = 0
        while let line = lines.next() {
            if line.text(0) == "end" {
                try readEnd(line, &lines, source, count: count)
                return try extents.finish(
                    .ringmirror, gaps: .skip, name: name, granularity: granularity)
            }
            let (offset, length) = try RangeList.range(line, source)
            try extents.add(offset, count: length, .copy, at: line.place)
            count += 1
        }
        throw source.malformed(.line(lines.lastNumber), "the last line, 'end COUNT', is missing")
    }

    /// The last line proves that all lines are there.
    private static func readEnd(
        _ line: TextLines.Line, _ lines: inout TextLines, _ source: ChangeMapInput, count: Int64
    ) throws(ChangeMapError) {
        guard line.fields.count == 2 else {
            throw source.malformed(line.place, "the number of ranges is missing")
        }
        let expected = try source.number(line.fields[1], "number of ranges", at: line.place)
        guard expected == count else {
            throw source.malformed(
                line.place, "the file has \(count) ranges, and should have \(expected)")
        }
        // Its number of ranges may have been cut.
        guard lines.endsWithNewline else {
            throw source.malformed(line.place, "the last line does not end: the file was cut")
        }
        if let more = lines.next() {
            throw source.malformed(more.place, "something follows the last line")
        }
    }
}
