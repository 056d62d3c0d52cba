import ChangeMap
import TestSupport
import Testing

/// Damaged files of every format: whatever the bytes are, the result is an error or a map that
/// keeps its promises.
///
/// A crash or a hang here is the failure. `RINGMIRROR_EVENTS` makes it longer.
@Suite struct FuzzTests {
    @Test(arguments: Sample.all)
    func `mutated files are read safely`(sample: Sample) {
        let seed = RandomTest.seed(default: 0xF022)
        for event in 0..<UInt64(RandomTest.events(default: 200)) {
            var random = SeededGenerator(seed: seed &+ event)
            var bytes = sample.bytes
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                Mutation.apply(to: &bytes, sample, &random)
            }
            check(bytes, sample, &random)
        }
    }

    private func check(_ bytes: [UInt8], _ sample: Sample, _ random: inout SeededGenerator) {
        var options = sample.options
        switch Int.random(in: 0..<4, using: &random) {
        case 0: options.format = nil
        case 1: options.format = sample.format
        case 2: options = .init(format: ChangeMapFormat.allCases.randomElement(using: &random))
        default: options.blockSize = [1, 512, 65536, .max].randomElement(using: &random)
        }
        let size =
            random.chance(percent: 80)
            ? sample.deviceSize
            : [0, 1, 1 << 40].randomElement(
                using: &random) ?? 0
        do {
            let map = try ChangeMap.read(
                bytes, name: sample.name, deviceSize: size, options: options)
            let problem = brokenPromise(of: map, size: size)
            #expect(problem == nil, "\(sample.name): \(random.replay) RINGMIRROR_EVENTS=1")
        } catch {
            #expect(error.file == sample.name && !error.problem.isEmpty && !error.remedy.isEmpty)
        }
    }

    private func brokenPromise(of map: ChangeMap, size: Int64) -> String? {
        var end: Int64 = 0
        var meaning: ChangeMap.Meaning?
        for extent in map.extents {
            if extent.range.isEmpty { return "empty: \(extent)" }
            if extent.range.lowerBound < end { return "unsorted: \(extent)" }
            if extent.range.lowerBound == end, extent.meaning == meaning { return "unjoined" }
            end = extent.range.upperBound
            meaning = extent.meaning
        }
        return end > size ? "past the end: \(end)" : nil
    }
}

/// What happens to files, and what is worst for parsers.
private enum Mutation {
    private static let numbers = [
        "0", "1", "-1", "9223372036854775807", "9223372036854775808", "18446744073709551615",
        "18446744073709551616", "0x7FFFFFFFFFFFFFFF", "0x8000000000000000", "1e308", "4096", "8E",
        "99999999999999999999999999999999", "0xFFFFFFFFFFFFFFFF", "-9223372036854775808",
    ]

    private static let pieces = [
        "<", ">", "/>", "\"", "{", "}", "[", "]", ",", ":", ";", "#", "\n", "<!--", "-->", "&lt;",
        "<![CDATA[", "e", "\u{0}", "..", "-", "+", "?", "times", "true", "null", "data", "dirty",
    ]

    static func apply(
        to bytes: inout [UInt8], _ sample: Sample, _ random: inout SeededGenerator
    ) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        let length = Int.random(in: 0...min(40, bytes.count - place), using: &random)
        let piece = place..<(place + length)
        switch Int.random(in: 0..<9, using: &random) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[place] = .random(in: 0...255, using: &random)
        case 2: bytes.removeSubrange(piece)
        case 3: bytes.insert(contentsOf: bytes[piece], at: place)
        case 4: bytes.removeSubrange(place...)
        case 5:
            let other = Sample.all.randomElement(using: &random)?.bytes ?? []
            bytes.replaceSubrange(place..., with: other.suffix(length * 10))
        case 6:
            bytes.replaceSubrange(
                piece, with: pieces.randomElement(using: &random)?.utf8 ?? "".utf8)
        case 7:
            for index in piece { bytes[index] = random.chance(percent: 50) ? 0xFF : 0 }
        default: replaceNumber(in: &bytes, from: place, &random)
        }
    }

    private static func replaceNumber(
        in bytes: inout [UInt8], from place: Int, _ random: inout SeededGenerator
    ) {
        func isDigit(_ byte: UInt8) -> Bool { (48..<58).contains(byte) }
        guard let start = bytes[place...].firstIndex(where: isDigit) else { return }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        let number = numbers.randomElement(using: &random) ?? "0"
        bytes.replaceSubrange(start..<end, with: number.utf8)
    }
}
