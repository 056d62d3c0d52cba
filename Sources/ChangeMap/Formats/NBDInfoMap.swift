/// What a type in `nbdinfo --map` counts; only its description tells.
private enum NBDContext: Hashable {
    /// base:allocation.
    case allocation
    /// qemu:dirty-bitmap:NAME.
    case dirty
    /// qemu:allocation-depth.
    case depth
    /// No description, or one of a context that we don't know.
    case unknown

    init(description: String) {
        switch description {
        case "data", "allocated", "hole", "zero", "hole,zero": self = .allocation
        case "clean", "dirty": self = .dirty
        case "absent", "unallocated", "local": self = .depth
        default: self = description.hasPrefix("backing depth") ? .depth : .unknown
        }
    }
}

/// An entry of either form.
private struct NBDEntry: Decodable {
    let offset: Int64
    let length: Int64
    let type: Int64
    let description: String?
}

/// Turns entries into extents of the format that their descriptions or the user name.
private struct NBDReader {
    let source: ChangeMapInput
    let requested: ChangeMapFormat?
    var extents: ExtentCollector
    var format: ChangeMapFormat?

    init(_ source: ChangeMapInput, _ requested: ChangeMapFormat?) {
        self.source = source
        self.requested = requested
        format = requested
        // Servers may round sizes up to sectors.
        extents = ExtentCollector(source, order: .contiguous, overhang: 511)
    }

    mutating func add(_ entry: NBDEntry, at place: ChangeMapError.Place) throws(ChangeMapError) {
        let format = try format(of: entry, at: place)
        let meaning = try meaning(of: entry.type, format, at: place)
        try extents.add(entry.offset, count: entry.length, meaning, at: place)
    }

    private mutating func format(
        of entry: NBDEntry, at place: ChangeMapError.Place
    ) throws(ChangeMapError) -> ChangeMapFormat {
        let description = entry.description ?? ""
        let found: ChangeMapFormat
        switch NBDContext(description: description) {
        case .allocation: found = .nbdinfo
        case .dirty: found = .nbdinfoDirty
        case .depth:
            throw source.error(
                .unsupported, at: place,
                "'\(excerpt(description.utf8))' is of the context qemu:allocation-depth, which "
                    + "doesn't say what changed",
                remedy: "Use `nbdinfo --map` or `nbdinfo --map=qemu:dirty-bitmap:NAME`.")
        case .unknown:
            guard let requested else {
                throw source.error(
                    .ambiguous, at: place,
                    "type \(entry.type) may stand for allocation or for a dirty bitmap, and its "
                        + "description '\(excerpt(description.utf8))' doesn't tell",
                    remedy: "Name the format: nbdinfo or nbdinfo-dirty.")
            }
            return requested
        }
        guard format == nil || format == found else {
            throw source.error(
                .ambiguous, at: place,
                "'\(description)' is of another context than the format "
                    + "\(format?.rawValue ?? "") or the entries before",
                remedy: "The whole file must be \(found.rawValue), by its name or by its content.")
        }
        format = found
        return found
    }

    private func meaning(
        of type: Int64, _ format: ChangeMapFormat, at place: ChangeMapError.Place
    ) throws(ChangeMapError) -> ChangeMap.Meaning {
        switch (format, type) {
        case (.nbdinfoDirty, 0): return .skip
        case (.nbdinfoDirty, 1): return .copy
        // Bit 0 is a hole, which may have any content; bit 1 says that it reads as zeros.
        case (.nbdinfo, 0), (.nbdinfo, 1): return .copy
        case (.nbdinfo, 2), (.nbdinfo, 3): return .zero
        default:
            throw source.malformed(place, "type \(type) isn't one of \(format.rawValue)")
        }
    }
}

extension ChangeMap {
    /// Text or JSON of `nbdinfo --map`, of allocation or of a dirty bitmap.
    static func readNBDInfo(
        _ bytes: [UInt8], _ source: ChangeMapInput, requested: ChangeMapFormat?
    ) throws(ChangeMapError) -> ChangeMap {
        var reader = NBDReader(source, requested)
        if bytes.first(where: { !isBlank($0) && $0 != 0x0A }) == UInt8(ascii: "[") {
            let entries = try jsonList(of: NBDEntry.self, bytes, source)
            for (index, entry) in entries.enumerated() {
                try reader.add(entry, at: .entry(index + 1))
            }
        } else {
            var lines = TextLines(bytes)
            while let line = lines.next() {
                try reader.add(entry(in: line, source), at: line.place)
            }
        }
        return try reader.extents.finish(reader.format ?? .nbdinfo, gaps: .skip)
    }

    private static func entry(
        in line: TextLines.Line, _ source: ChangeMapInput
    ) throws(ChangeMapError) -> NBDEntry {
        guard line.fields.count >= 3 else {
            throw source.malformed(line.place, "an extent needs an offset, a length and a type")
        }
        return NBDEntry(
            offset: try source.number(line.fields[0], "offset", at: line.place),
            length: try source.number(line.fields[1], "length", at: line.place),
            type: try source.number(line.fields[2], "type", at: line.place),
            description: line.fields.dropFirst(3).map { String(decoding: $0, as: UTF8.self) }
                .joined(separator: " "))
    }
}
