// GNU ddrescue's mapfile, and partclone's domain map, which looks like one and means the opposite.

/// The lines of both: one with the state of the run, then one for each block.
struct DdrescueLines {
    private static let statuses: Set<String> = ["?", "*", "/", "-", "+"]
    private static let runStatuses: Set<String> = statuses.union(["F", "G"])

    /// Whether a line may be the one with the state: a position, a mark, and maybe a pass.
    static func isStatus(_ line: TextLines.Line) -> Bool {
        (2...3).contains(line.fields.count) && runStatuses.contains(line.text(1))
            && NumberSyntax.c.parse(line.fields[0]) != nil
    }

    /// The map, with what the marks mean.
    static func read(
        _ bytes: [UInt8], _ source: ChangeMapInput, _ format: ChangeMapFormat,
        meaning: (_ status: String) -> ChangeMap.Meaning
    ) throws(ChangeMapError) -> ChangeMap {
        var lines = TextLines(bytes)
        guard let status = lines.next(), isStatus(status) else {
            throw source.malformed(
                .line(lines.lastNumber), "the line with the current position and status is missing")
        }
        var extents = ExtentCollector(source, order: .contiguousFromAnywhere)
        while let line = lines.next() {
            guard line.fields.count == 3, statuses.contains(line.text(2)) else {
                throw source.malformed(
                    line.place, "a block needs a position, a size, and one of ? * / - +")
            }
            let start = try source.number(line.fields[0], "position", .c, at: line.place)
            var count = try source.number(line.fields[1], "size", .c, at: line.place)
            if start.addingReportingOverflow(count) == (.max, false) {
                // ddrescuelog doesn't know the size of the disk that it makes a map for, and
                // ends it at the largest offset there is.
                count = source.deviceSize - start
                if count <= 0 { continue }
            }
            try extents.add(start, count: count, meaning(line.text(2)), at: line.place)
        }
        return try extents.finish(format, gaps: .skip)
    }
}

extension ChangeMap {
    /// What ddrescue has finished is on the target already.
    static func readDdrescue(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        try DdrescueLines.read(bytes, source, .ddrescue) { $0 == "+" ? .skip : .copy }
    }

    /// What the filesystem doesn't use may have any content; all marks but `?` are in use.
    static func readPartclone(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        try DdrescueLines.read(bytes, source, .partclone) { $0 == "?" ? .skip : .copy }
    }
}
