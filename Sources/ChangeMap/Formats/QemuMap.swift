/// An entry of `qemu-img map --output=json`. Other keys vary from version to version.
private struct QemuEntry: Decodable {
    let start: Int64
    let length: Int64
    let zero: Bool
    let data: Bool

    /// QEMU's block status has no such extent in a plain map whose backing files are all there.
    /// With `x-dirty-bitmap`, it is what dirty bytes look like.
    var isDirtyOrUnallocated: Bool { !data && !zero }
}

extension ChangeMap {
    /// QEMU counts raw images in sectors and rounds their size up.
    private static let qemuOverhang: Int64 = 511

    /// Where the content comes from, as QEMU sees it.
    ///
    /// - Parameter isGuess: whether nobody said that it is this, and not a dirty bitmap.
    static func readQemuMap(
        _ bytes: [UInt8], _ source: ChangeMapInput, isGuess: Bool
    ) throws(ChangeMapError) -> ChangeMap {
        var isUnclear = false
        let map = try readQemu(bytes, source, .qemuMap) { entry, place throws(ChangeMapError) in
            guard entry.isDirtyOrUnallocated else { return entry.zero ? .zero : .copy }
            guard !isGuess else {
                throw source.error(
                    .ambiguous, at: place,
                    "an extent is neither data nor zero: in the map of a dirty bitmap "
                        + "(x-dirty-bitmap) it is dirty, in any other its content is unknown",
                    remedy: "Name the format: qemu-dirty or qemu-map.")
            }
            isUnclear = true
            return .copy
        }
        guard isUnclear else { return map }
        return map.warning(
            "\(source.name) has extents that are neither data nor zero; they are copied. If it "
                + "is the map of a dirty bitmap, name the format qemu-dirty.")
    }

    /// With `x-dirty-bitmap`, what is dirty shows as not being there.
    static func readQemuDirty(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> ChangeMap {
        try readQemu(bytes, source, .qemuDirty) { entry, place throws(ChangeMapError) in
            guard !entry.zero else {
                throw source.error(
                    .ambiguous, at: place,
                    "an extent is zero, which no map of a dirty bitmap says",
                    remedy: "It is the map of an image: name the format qemu-map.")
            }
            return entry.data ? .skip : .copy
        }
    }

    private static func readQemu(
        _ bytes: [UInt8], _ source: ChangeMapInput, _ format: ChangeMapFormat,
        meaning: (QemuEntry, ChangeMapError.Place) throws(ChangeMapError) -> Meaning
    ) throws(ChangeMapError) -> ChangeMap {
        let entries = try jsonList(of: QemuEntry.self, bytes, source)
        var extents = ExtentCollector(source, order: .contiguous, overhang: qemuOverhang)
        for (index, entry) in entries.enumerated() {
            // An image without content has one entry without length.
            if entries.count == 1, entry.length == 0 { continue }
            let place = ChangeMapError.Place.entry(index + 1)
            let meaning = try meaning(entry, place)
            try extents.add(entry.start, count: entry.length, meaning, at: place)
        }
        return try extents.finish(format, gaps: .skip)
    }

    /// The same map with one more warning.
    func warning(_ text: String) -> ChangeMap {
        var map = self
        map.warnings.append(text)
        return map
    }
}
