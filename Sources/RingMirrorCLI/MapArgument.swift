import ArgumentParser
import RingMirror

/// A change map on the command line: `FILE`, or `FILE:format`; `-` is standard input.
struct MapArgument: ExpressibleByArgument {
    let path: String
    let format: ChangeMapFormat?

    init?(argument: String) {
        guard !argument.isEmpty else { return nil }
        // A file whose name ends like a format is that file.
        if !Files.exists(argument), let colon = argument.lastIndex(of: ":"),
            let format = ChangeMapFormat(
                rawValue: String(argument[argument.index(after: colon)...]))
        {
            path = String(argument[..<colon])
            self.format = format
        } else {
            path = argument
            format = nil
        }
    }

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

    /// Reads a map for a device, and says on standard error what was found.
    func read(
        _ map: MapArgument, deviceSize: Int64, _ output: OutputOptions, _ complaint: Complaint
    ) throws -> ChangeMap {
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try Files.bytes(of: map.path)
        } catch {
            throw complaint.end("\(map.path): it can't be read: \(error)", .usage)
        }
        var options = ChangeMapOptions()
        options.format = map.format
        options.blockSize = mapBlockSize?.bytes
        options.thinDevice = mapThinDevice
        options.peer = mapPeer
        do throws(ChangeMapError) {
            let found = try ChangeMap.read(
                bytes, name: map.path == "-" ? "standard input" : map.path,
                deviceSize: deviceSize, options: options)
            if !output.quiet {
                if map.format == nil {
                    Output.errorLine("ringmirror: \(map.path) is read as \(found.format.rawValue)")
                }
                for warning in found.warnings { Output.errorLine("ringmirror: \(warning)") }
            }
            return found
        } catch {
            throw complaint.end("\(error)", .usage)
        }
    }
}
