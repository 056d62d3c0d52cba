// The XML of thin_delta and thin_dump: blocks of a thin pool, whose size the root element gives.

/// Bytes of the sectors in which device mapper counts.
private let sectorSize: Int64 = 512

/// The collector for the block size in `<superblock data_block_size=…>`.
private func thinExtents(
    _ superblock: MapElement, _ source: ChangeMapInput
) throws(ChangeMapError) -> ExtentCollector {
    let sectors = try superblock.number("data_block_size", source)
    let (unit, overflows) = sectors.multipliedReportingOverflow(by: sectorSize)
    guard unit > 0, !overflows else {
        throw source.malformed(superblock.place, "a pool can't have blocks of \(sectors) sectors")
    }
    try BlockSizeRule.thin.check(unit, source, at: superblock.place)
    return ExtentCollector(source, order: .ascending, unit: unit)
}

/// `<same>`, `<different>`, `<left_only>` and `<right_only>` with begin and length, or around
/// `<range>`s that have them.
private struct ThinDeltaHandler: MapElementHandler {
    let source: ChangeMapInput
    var extents: ExtentCollector?
    var hasDiff = false

    mutating func open(_ element: MapElement) throws(ChangeMapError) {
        switch (element.path.count, element.name) {
        case (0, "superblock"): extents = try thinExtents(element, source)
        case (1, "diff"):
            guard !hasDiff else { throw element.unexpected(source) }
            hasDiff = true
        case (2, let name):
            guard let meaning = meaning(name) else { throw element.unexpected(source) }
            // With --verbose, the element is only the bracket around its ranges.
            if element.attributes["begin"] != nil { try add(element, meaning) }
        case (3, "range"):
            guard let meaning = meaning(element.path[2]) else { throw element.unexpected(source) }
            try add(element, meaning)
        default: throw element.unexpected(source)
        }
    }

    mutating func close(_ name: String, text: String, line: Int) {}

    /// What makes the left device the right one. A block that only the left one has was
    /// discarded, and reads as zeros on the right.
    private func meaning(_ name: String) -> ChangeMap.Meaning? {
        switch name {
        case "same": .skip
        case "different", "right_only": .copy
        case "left_only": .zero
        default: nil
        }
    }

    private mutating func add(
        _ element: MapElement, _ meaning: ChangeMap.Meaning
    ) throws(ChangeMapError) {
        let begin = try element.number("begin", source)
        let length = try element.number("length", source)
        try extents?.add(begin, count: length, meaning, at: element.place)
    }
}

/// `<device>`s with `<range_mapping>` and `<single_mapping>`, and with `<ref>`s to mappings that
/// devices share, which stand in `<def>`s before them.
private struct ThinDumpHandler: MapElementHandler {
    private struct Mapping {
        let begin: Int64
        let length: Int64
    }

    let source: ChangeMapInput
    let wanted: Int64?
    var extents: ExtentCollector?
    /// The devices in the file, as far as they were read.
    var devices: Set<Int64> = []
    private var definitions: [String: [Mapping]] = [:]
    private var definition: String?
    private var isInWanted = false

    init(_ source: ChangeMapInput, wanted: Int64?) {
        self.source = source
        self.wanted = wanted
    }

    mutating func open(_ element: MapElement) throws(ChangeMapError) {
        switch (element.path.count, element.name) {
        case (0, "superblock"): extents = try thinExtents(element, source)
        case (1, "device"): try openDevice(element)
        case (1, "def"):
            guard let name = element.attributes["name"], definitions[name] == nil else {
                throw source.malformed(element.place, "<def> has no name, or one that was there")
            }
            definitions[name] = []
            definition = name
        case (2, "range_mapping"):
            let begin = try element.number("origin_begin", source)
            try add(begin, element.number("length", source), element)
        case (2, "single_mapping"): try add(element.number("origin_block", source), 1, element)
        case (2, "ref"):
            guard isInWanted else { return }
            guard let mappings = definitions[element.attributes["name"] ?? ""] else {
                throw source.malformed(element.place, "<ref> names no <def> before it")
            }
            for mapping in mappings {
                try extents?.add(mapping.begin, count: mapping.length, .copy, at: element.place)
            }
        default: throw element.unexpected(source)
        }
    }

    private mutating func openDevice(_ element: MapElement) throws(ChangeMapError) {
        let device = try element.number("dev_id", source)
        guard devices.insert(device).inserted else {
            throw source.malformed(element.place, "device \(device) is there twice")
        }
        guard wanted != nil || devices.count == 1 else {
            let shown = devices.sorted().map(String.init).joined(separator: " and ")
            throw source.error(
                .option(.thinDevice), at: element.place,
                "the dump has several devices, among them \(shown)",
                remedy: "Give the number of the device (dev_id).")
        }
        isInWanted = wanted == nil || wanted == device
    }

    private mutating func add(
        _ begin: Int64, _ length: Int64, _ element: MapElement
    ) throws(ChangeMapError) {
        if let definition {
            definitions[definition]?.append(Mapping(begin: begin, length: length))
        } else if isInWanted {
            try extents?.add(begin, count: length, .copy, at: element.place)
        }
    }

    mutating func close(_ name: String, text: String, line: Int) {
        if name == "def" { definition = nil }
        if name == "device" { isInWanted = false }
    }
}

extension ChangeMap {
    /// What differs between two thin devices. Blocks that neither has are zero in both.
    static func readThinDelta(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        var handler = ThinDeltaHandler(source: source)
        try readXML(bytes, source, &handler)
        guard handler.hasDiff, let extents = handler.extents else {
            throw source.malformed(nil, "there is no <diff>")
        }
        return try extents.finish(.thinDelta, gaps: .skip)
    }

    /// What a thin device has mapped. All else reads as zeros.
    static func readThinDump(
        _ bytes: [UInt8], _ source: ChangeMapInput, device: Int?
    ) throws(ChangeMapError) -> ChangeMap {
        let wanted = device.map(Int64.init)
        var handler = ThinDumpHandler(source, wanted: wanted)
        try readXML(bytes, source, &handler)
        guard let extents = handler.extents, !handler.devices.isEmpty else {
            throw source.malformed(nil, "there is no <device>")
        }
        if let wanted, !handler.devices.contains(wanted) {
            let shown = handler.devices.sorted().prefix(20).map(String.init)
            throw source.error(
                .option(.thinDevice), "the dump has no device \(wanted)",
                remedy: "It has \(shown.joined(separator: ", ")): give one of these.")
        }
        return try extents.finish(.thinDump, gaps: .zero)
    }
}
