import ArgumentParser
import RingMirror

/// A change map on the command line: `FILE`, or `FILE:format`; `-` is standard input.
struct MapArgument: ExpressibleByArgument {
    let path: PathArgument
    let format: ChangeMapFormat?

    init?(argument: String) {
        // A file whose name ends like a format is that file.
        guard let whole = PathArgument(argument: argument) else { return nil }
        if !Files.exists(whole.path), let colon = argument.lastIndex(of: ":"),
            let format = ChangeMapFormat(
                rawValue: String(argument[argument.index(after: colon)...])),
            let file = PathArgument(argument: String(argument[..<colon]))
        {
            path = file
            self.format = format
        } else {
            path = whole
            format = nil
        }
    }

    /// For messages.
    var name: String { path.isStandardStream ? "standard input" : "\(path)" }

    static var defaultCompletionKind: CompletionKind { .file() }
}

/// What reading a change map takes besides the file.
struct MapOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Bytes in a block of the map, for formats that don't tell (era).", valueName: "size"))
    var mapBlockSize: ByteSize?

    @Option(
        help: ArgumentHelp(
            "The thin device to take, of a thin_dump that has several.", valueName: "id"))
    var mapThinDevice: Int?

    @Option(
        help: ArgumentHelp("The peer to take, of a DRBD dump that has several.", valueName: "id"))
    var mapPeer: Int?

    /// Whether any of them was given.
    var isAsked: Bool { mapBlockSize != nil || mapThinDevice != nil || mapPeer != nil }

    /// Reads a map for a device, and says on standard error what was found.
    func read(
        _ map: MapArgument, deviceSize: Int64, _ output: OutputOptions, _ complaint: Complaint
    ) throws -> ChangeMap {
        Signals.enter(.reading("reading \(map.name)"))
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try Files.bytes(of: map.path)
        } catch {
            throw complaint.end(
                Failure(
                    .mapUnreadable, "can't read \(map.name): \(error)", path: map.path.path, .usage)
            )
        }
        var options = ChangeMapOptions()
        options.format = map.format
        options.blockSize = mapBlockSize?.bytes
        options.thinDevice = mapThinDevice
        options.peer = mapPeer
        do throws(ChangeMapError) {
            let found = try ChangeMap.read(
                bytes, name: map.name, deviceSize: deviceSize, options: options)
            if map.format == nil {
                output.note(
                    .mapFormat, "\(map.name): format recognised as '\(found.format.rawValue)'")
            }
            for warning in found.warnings { output.warn(.map, warning) }
            return found
        } catch {
            throw complaint.end(Failure(error))
        }
    }
}
