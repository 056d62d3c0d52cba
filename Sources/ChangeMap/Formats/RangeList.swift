/// Lines of an offset and a length, for people and scripts.
enum RangeList {
    /// How the lists that we write begin. It lets a list without entries be recognised.
    static let header = "# ringmirror ranges"

    /// The offset and length in a line.
    static func range(
        _ line: TextLines.Line, _ source: ChangeMapInput
    ) throws(ChangeMapError) -> (offset: Int64, length: Int64) {
        guard line.fields.count == 2 else {
            throw source.malformed(
                line.place, "the line has \(line.fields.count) fields, not an offset and a length")
        }
        return (
            try source.number(line.fields[0], "offset", .human, at: line.place),
            try source.number(line.fields[1], "length", .human, at: line.place)
        )
    }
}

extension ChangeMap {
    static func readRanges(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        var lines = TextLines(bytes)
        guard lines.endsWithNewline else {
            throw source.error(
                .malformed, "the last line has no end, so that a number may be cut off",
                remedy: "Add a newline if the list is complete.")
        }
        var extents = ExtentCollector(source, order: .any)
        while let line = lines.next() {
            let (offset, length) = try RangeList.range(line, source)
            try extents.add(offset, count: length, .copy, at: line.place)
        }
        return try extents.finish(.ranges, gaps: .skip)
    }
}
