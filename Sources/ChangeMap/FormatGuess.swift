/// Tells the format of a map by its content. The name of a file proves nothing.
struct FormatGuess {
    private let bytes: [UInt8]
    private let source: ChangeMapInput

    /// Enough to see how a file begins; the readers look at the rest.
    private static let headLength = 64 << 10

    init(_ bytes: [UInt8], _ source: ChangeMapInput) {
        self.bytes = bytes
        self.source = source
    }

    /// - Throws: `unrecognized`, `ambiguous`, and `unsupported` for files that are known and can't
    ///   serve as maps.
    func format() throws(ChangeMapError) -> ChangeMapFormat {
        if bytes.starts(with: "rbd diff v".utf8) { return .rbdDiff }
        if bytes.starts(with: "rbd image v".utf8) {
            throw unsupported("a whole RBD image", "Use `rbd export-diff`.")
        }
        if bytes.starts(with: "ringmirror bitmap ".utf8) { return .ringmirror }
        let content = bytes.drop { isBlank($0) || $0 == UInt8(ascii: "\n") || $0 >= 0x80 }
        switch content.first {
        case UInt8(ascii: "<"): return try xmlFormat(content)
        case UInt8(ascii: "["), UInt8(ascii: "{"): return try jsonFormat(content)
        default: return try textFormat()
        }
    }

    private func xmlFormat(_ content: ArraySlice<UInt8>) throws(ChangeMapError) -> ChangeMapFormat {
        // The comments of a bmap come before its root, and they mention elements.
        let names = elementNames(content.prefix(Self.headLength))
        switch names.first {
        case "blocks": return .era
        case "bmap": return .bmap
        case "superblock":
            if names.contains("diff") { return .thinDelta }
            if names.contains("device") || names.contains("def") { return .thinDump }
            throw unsupported(
                "a dump of metadata that is neither thin_delta's nor thin_dump's",
                "For dm-era, use `era_invalidate --written-since`.")
        default: throw unrecognized()
        }
    }

    /// The names of the first start tags, outside of comments.
    private func elementNames(_ text: ArraySlice<UInt8>) -> [String] {
        var names: [String] = []
        var rest = text
        while names.count < 8, let open = rest.firstIndex(of: UInt8(ascii: "<")) {
            rest = rest[(open + 1)...]
            if rest.starts(with: "!--".utf8) {
                guard let end = rest.firstRange(of: Array("-->".utf8)) else { break }
                rest = rest[end.upperBound...]
                continue
            }
            let name = rest.prefix {
                !isBlank($0) && ![0x0A, UInt8(ascii: ">"), UInt8(ascii: "/")].contains($0)
            }
            let isStart = name.first.map { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "!") }
            if isStart == true { names.append(excerpt(name)) }
        }
        return names
    }

    private func jsonFormat(_ content: ArraySlice<UInt8>) throws(ChangeMapError) -> ChangeMapFormat
    {
        let object = content.prefix(Self.headLength).prefix { $0 != UInt8(ascii: "}") }
        func has(_ key: String) -> Bool { object.firstRange(of: Array("\"\(key)\"".utf8)) != nil }
        if has("percent") { throw totals() }
        if has("start"), has("data") { return .qemuMap }
        if has("offset"), has("type") { return .nbdinfo }
        throw unrecognized()
    }

    private func totals() -> ChangeMapError {
        unsupported("only sums, of `nbdinfo --totals`", "Leave `--totals` away.")
    }

    private func textFormat() throws(ChangeMapError) -> ChangeMapFormat {
        let head = bytes.prefix(Self.headLength)
        func says(_ text: String) -> Bool { head.firstRange(of: Array(text.utf8)) != nil }
        var lines = TextLines(Array(head))
        guard let line = lines.next() else {
            if head.starts(with: RangeList.header.utf8) { return .ranges }
            throw unrecognized()
        }
        if line.text(0) == "version", line.text(1).hasPrefix("\"v") { return .drbd }
        if line.text(0) == "Filesystem", line.text(1) == "type" { return .filefrag }
        if line.text(0) == "File", line.text(1) == "size" { return .filefrag }
        if line.text(0) == "Offset", line.text(1) == "Length" {
            throw unsupported(
                "`qemu-img map` for people, which can't be read safely", "Add `--output=json`.")
        }
        if DdrescueLines.isStatus(line) {
            // The mark of a block means the opposite in the two formats.
            if says("# Domain logfile created by") { return .partclone }
            if line.fields.count == 3 || says("# Rescue Logfile.") || says("# Mapfile.") {
                return .ddrescue
            }
            throw source.error(
                .ambiguous, at: line.place,
                "the file may be a ddrescue mapfile, in which + blocks are done, or a partclone "
                    + "domain map, in which + blocks are in use",
                remedy: "Name the format: ddrescue or partclone.")
        }
        guard NumberSyntax.human.parse(line.fields[0]) != nil else { throw unrecognized() }
        if line.fields.count > 2, line.text(1).hasSuffix("%") { throw totals() }
        if line.fields.count == 2 { return .ranges }
        if line.fields.count >= 4 { return .nbdinfo }
        throw unrecognized()
    }

    private func unsupported(_ what: String, _ remedy: String) -> ChangeMapError {
        source.error(.unsupported, "this is \(what)", remedy: remedy)
    }

    private func unrecognized() -> ChangeMapError {
        let names = ChangeMapFormat.allCases.map(\.rawValue).joined(separator: ", ")
        return source.error(
            .unrecognized, "no known change map looks like this",
            remedy: "Name the format if it is one of \(names).")
    }
}
