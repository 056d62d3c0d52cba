extension ChangeMap {
    /// The most bytes of a file that are read as a map, 1 GiB.
    public static let byteCountMax = 1 << 30

    /// Reads a change map.
    ///
    /// The format is told from the content, unless the options name it; `format` of the result
    /// says which it was. What the file leaves open and what is known to go wrong with its format
    /// is in `warnings`. A byte order mark and the frame of a clear-signed text are taken off;
    /// places in errors are then those of the text inside.
    ///
    /// Input may come from anywhere: whatever the bytes are, the result is a map whose extents lie
    /// on the disk, or an error.
    ///
    /// - Parameters:
    ///   - bytes: the whole file.
    ///   - name: what to call the file in messages.
    ///   - deviceSize: bytes of the disk that the map is meant for, 0 or more. A map for a larger
    ///     disk is refused; if it is for a smaller one, the rest of the disk counts as changed.
    ///   - options: what the file can't say.
    /// - Throws: `ChangeMapError`, with the place in the file.
    /// - Complexity: O(bytes), and O(extents log extents) for the formats without order; memory
    ///   for the extents, and for JSON and XML a few times that of the bytes.
    public static func read(
        _ bytes: [UInt8], name: String, deviceSize: Int64, options: ChangeMapOptions = .init()
    ) throws(ChangeMapError) -> ChangeMap {
        precondition(deviceSize >= 0, "a disk can't have \(deviceSize) bytes")
        let source = ChangeMapInput(name: name, deviceSize: deviceSize)
        guard bytes.count <= byteCountMax else {
            throw source.error(
                .tooLarge,
                "the file has \(bytes.count) bytes, and at most \(byteCountMax) are read",
                remedy: "Make the map with larger blocks.")
        }
        guard !bytes.isEmpty else {
            throw source.error(
                .malformed, "the file is empty: that isn't the same as 'nothing changed'",
                remedy: "See whether the command that made it failed.")
        }
        let (content, warnings) = try Wrapper.open(bytes, source)
        let format: ChangeMapFormat
        if let given = options.format {
            format = given
        } else {
            format = try FormatGuess(content, source).format()
        }
        var map = try read(content, source, format, options)
        map.warnings += warnings
        map.warnIfClean(name)
        return map
    }

    private static func read(
        _ bytes: [UInt8], _ source: ChangeMapInput, _ format: ChangeMapFormat,
        _ options: ChangeMapOptions
    ) throws(ChangeMapError) -> ChangeMap {
        switch format {
        case .ddrescue: try readDdrescue(bytes, source)
        case .partclone: try readPartclone(bytes, source)
        case .era: try readEra(bytes, source, blockSize: options.blockSize)
        case .thinDelta: try readThinDelta(bytes, source)
        case .thinDump: try readThinDump(bytes, source, device: options.thinDevice)
        case .bmap: try readBmap(bytes, source)
        case .qemuMap: try readQemuMap(bytes, source, isGuess: options.format == nil)
        case .qemuDirty: try readQemuDirty(bytes, source)
        case .nbdinfo, .nbdinfoDirty: try readNBDInfo(bytes, source, requested: options.format)
        case .drbd: try readDRBD(bytes, source, peer: options.peer)
        case .rbdDiff: try readRBDDiff(bytes, source)
        case .filefrag: try readFilefrag(bytes, source)
        case .ranges: try readRanges(bytes, source)
        case .ringmirror: try readRingmirror(bytes, source)
        }
    }

    /// Disks of which nothing changed are rare, and maps of the wrong thing are not.
    private mutating func warnIfClean(_ name: String) {
        guard size > 1 << 20, dirtyBytes == 0 else { return }
        warnings.append(
            "\(name) says that nothing at all changed on a disk of \(size) bytes: "
                + "see whether it is the right file, made at the right time.")
    }
}
