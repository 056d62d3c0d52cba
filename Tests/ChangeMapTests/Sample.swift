import ChangeMap
import Testing

/// A file that a tool wrote, and what it means.
struct Sample: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let deviceSize: Int64
    let options: ChangeMapOptions
    let format: ChangeMapFormat
    let gaps: ChangeMap.Meaning
    /// The extents, such as `copy 0..<4096`.
    let extents: [String]

    init(
        _ name: String, _ text: String, _ deviceSize: Int64, _ format: ChangeMapFormat,
        options: ChangeMapOptions = .init(), gaps: ChangeMap.Meaning = .skip, _ extents: [String]
    ) {
        self.init(
            name, bytes: Array(text.utf8), deviceSize, format, options: options, gaps: gaps, extents
        )
    }

    init(
        _ name: String, bytes: [UInt8], _ deviceSize: Int64, _ format: ChangeMapFormat,
        options: ChangeMapOptions = .init(), gaps: ChangeMap.Meaning = .skip, _ extents: [String]
    ) {
        self.name = name
        self.bytes = bytes
        self.deviceSize = deviceSize
        self.format = format
        self.options = options
        self.gaps = gaps
        self.extents = extents
    }

    var testDescription: String { name }

    func read() throws(ChangeMapError) -> ChangeMap {
        try ChangeMap.read(bytes, name: name, deviceSize: deviceSize, options: options)
    }
}

extension ChangeMap {
    /// The extents as text, which is easier to write down and to compare by eye.
    var lines: [String] { extents.map { "\($0.meaning) \($0.range)" } }

    /// Reads text for a disk of 16 MiB.
    static func read(
        _ text: String, size: Int64 = 1 << 24, _ options: ChangeMapOptions = .init()
    ) throws(ChangeMapError) -> ChangeMap {
        try read(Array(text.utf8), name: "map", deviceSize: size, options: options)
    }
}

/// Expects an error of this kind, whose text has all of `words`: they are what helps the user.
func expectError(
    _ kind: ChangeMapError.Kind, _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation,
    when body: () throws(ChangeMapError) -> ChangeMap
) {
    do {
        let map = try body()
        Issue.record("no error, but \(map.format)", sourceLocation: sourceLocation)
    } catch {
        #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
        for word in words {
            #expect(
                error.description.contains(word), "\(error)", sourceLocation: sourceLocation)
        }
    }
}
