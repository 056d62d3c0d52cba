/// `<blocks>` with `<block block=…/>` and `<range begin=… end=…/>`, the end being exclusive.
private struct EraHandler: MapElementHandler {
    let source: ChangeMapInput
    var extents: ExtentCollector

    mutating func open(_ element: MapElement) throws(ChangeMapError) {
        switch (element.path.count, element.name) {
        case (0, "blocks"): return
        case (1, "block"):
            let block = try element.number("block", source)
            try extents.add(block, count: 1, .copy, at: element.place)
        case (1, "range"):
            let begin = try element.number("begin", source)
            let end = try element.number("end", source)
            try extents.add(begin, count: end - begin, .copy, at: element.place)
        default: throw element.unexpected(source)
        }
    }

    mutating func close(_ name: String, text: String, line: Int) {}
}

extension ChangeMap {
    /// Blocks that were written since an era. The file says neither how large a block is nor how
    /// large the device.
    static func readEra(
        _ bytes: [UInt8], _ source: ChangeMapInput, blockSize: Int64?
    ) throws(ChangeMapError) -> ChangeMap {
        guard let blockSize, blockSize > 0 else {
            throw source.error(
                .option(.blockSize), "era_invalidate doesn't write how large its blocks are",
                remedy: "Give the block size: `dmsetup table` shows it behind the two devices of "
                    + "the era target, in sectors of 512 bytes.")
        }
        try BlockSizeRule.era.check(blockSize, source, at: nil)
        let extents = ExtentCollector(source, order: .ascending, unit: blockSize)
        var handler = EraHandler(source: source, extents: extents)
        try readXML(bytes, source, &handler)
        let warning =
            "era_invalidate before version 1.3.3 can miss blocks, and \(source.name) doesn't say "
            + "which version made it: see `era_invalidate --version`."
        return try handler.extents.finish(.era, gaps: .skip, warnings: [warning])
    }
}
