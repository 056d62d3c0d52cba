/// The table of `filefrag -v`: logical ranges with both ends inclusive, in blocks whose size the
/// header gives.
private struct FilefragReader {
    let source: ChangeMapInput
    var extents: ExtentCollector?
    var hasLast = false
    var rowCount = 0
    var isComplete = false

    init(_ source: ChangeMapInput) { self.source = source }

    mutating func read(_ line: TextLines.Line) throws(ChangeMapError) {
        if isComplete { throw severalFiles(line) }
        if line.text(0) == "Filesystem" || line.text(0) == "ext:" {
            if line.text(0) == "Filesystem", extents != nil { throw severalFiles(line) }
        } else if line.text(0) == "File", line.text(1) == "size", line.text(2) == "of" {
            guard extents == nil else { throw severalFiles(line) }
            extents = try start(line)
        } else if line.text(0).hasSuffix(":"), Int(line.text(0).dropLast()) != nil {
            try readRow(line)
        } else if line.text(line.fields.count - 1) == "found" {
            isComplete = true
        } else {
            throw source.malformed(line.place, "the line is none that `filefrag -v` prints")
        }
    }

    /// `File size of NAME is SIZE (COUNT blocks of BYTES bytes)`; the name may have blanks.
    private func start(_ line: TextLines.Line) throws(ChangeMapError) -> ExtentCollector {
        let fields = line.fields
        let end = fields.count
        guard end >= 10, line.text(end - 1) == "bytes)", line.text(end - 3) == "of",
            fields[end - 5].first == UInt8(ascii: "(")
        else {
            throw source.malformed(line.place, "the line doesn't say how large the blocks are")
        }
        let size = try source.number(fields[end - 6], "size", at: line.place)
        let unit = try source.number(fields[end - 2], "size of a block", at: line.place)
        guard unit > 0 else { throw source.malformed(line.place, "blocks have 0 bytes") }
        // Blocks may be allocated behind the end of the file.
        var extents = ExtentCollector(source, order: .ascending, unit: unit, overhang: .max)
        try extents.declare(size: size, at: line.place)
        return extents
    }

    /// `N: FIRST.. LAST: PHYSICAL.. PHYSICAL: LENGTH: EXPECTED: FLAGS`.
    private mutating func readRow(_ line: TextLines.Line) throws(ChangeMapError) {
        let row = line.fields.joined(separator: [UInt8(ascii: " ")])
        let columns = Array(row).split(separator: UInt8(ascii: ":"))
        guard columns.count >= 4 else {
            throw source.malformed(line.place, "the row has too few columns")
        }
        let ends = columns[1].split { $0 == UInt8(ascii: ".") || isBlank($0) }
        let lengths = columns[3].split { isBlank($0) }
        guard ends.count == 2, lengths.count == 1 else {
            throw source.malformed(line.place, "the row has no logical range and length")
        }
        let first = try number(ends[0], line)
        let last = try number(ends[1], line)
        let length = try number(lengths[0], line)
        guard last >= first, last - first == length - 1 else {
            throw source.malformed(line.place, "\(first) to \(last) are not \(length) blocks")
        }
        // What is allocated and unwritten reads as zeros, unless its data is still in memory
        // only; the filesystem need not say that.
        try extents?.add(first, count: length, .copy, at: line.place)
        rowCount += 1
        let flags = columns.last?.split { isBlank($0) || $0 == UInt8(ascii: ",") } ?? []
        hasLast = flags.contains { $0.elementsEqual("last".utf8) }
    }

    private func number(
        _ field: ArraySlice<UInt8>, _ line: TextLines.Line
    ) throws(ChangeMapError) -> Int64 {
        if let number = NumberSyntax.decimal.parse(field) { return number }
        throw source.error(
            .malformed, at: line.place, "'\(excerpt(field))' is not a decimal number",
            remedy: "Call `filefrag -v` without -X.")
    }

    private func severalFiles(_ line: TextLines.Line) -> ChangeMapError {
        source.error(
            .unsupported, at: line.place, "the table goes on with another file",
            remedy: "Call `filefrag -v` with one file only.")
    }
}

extension ChangeMap {
    /// Where a file has blocks. All else reads as zeros.
    static func readFilefrag(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        var lines = TextLines(bytes, hasComments: false)
        var reader = FilefragReader(source)
        while let line = lines.next() { try reader.read(line) }
        guard let extents = reader.extents, reader.isComplete,
            reader.hasLast || reader.rowCount == 0
        else {
            throw source.malformed(
                .line(lines.lastNumber), "the table doesn't go on to the last extent")
        }
        return try extents.finish(.filefrag, gaps: .zero)
    }
}
