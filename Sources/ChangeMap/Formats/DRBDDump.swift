/// The words and marks of a dump of DRBD's metadata.
private struct DRBDTokens {
    enum Token {
        case word(ArraySlice<UInt8>)
        case mark(UInt8)
    }

    private static let marks = Set(";{}[]".utf8)

    private let bytes: [UInt8]
    private var position = 0
    /// The line of the last token.
    private(set) var line = 1

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var place: ChangeMapError.Place { .line(line) }

    mutating func next() -> Token? {
        while position < bytes.count {
            let byte = bytes[position]
            if byte == 0x0A { line += 1 }
            if byte == 0x0A || isBlank(byte) {
                position += 1
            } else if byte == UInt8(ascii: "#") {
                position = bytes[position...].firstIndex(of: 0x0A) ?? bytes.count
            } else if Self.marks.contains(byte) {
                position += 1
                return .mark(byte)
            } else {
                let word = bytes[position...].prefix {
                    !isBlank($0) && $0 != 0x0A && $0 != UInt8(ascii: "#")
                        && !Self.marks.contains($0)
                }
                position = word.endIndex
                return .word(word)
            }
        }
        return nil
    }
}

/// Reads statements, `KEY VALUE… ;` and `KEY[INDEX] { … }`, up to the bitmap that is wanted.
private struct DRBDReader {
    /// Set in a peer's flags if all of the disk has to be synchronised, whatever the bitmap says.
    private static let fullSyncFlag: Int64 = 1 << 3

    /// DRBD numbers its nodes from 0 to 31.
    private static let peerCountMax: Int64 = 32

    let source: ChangeMapInput
    let wantedPeer: Int?
    private var tokens: DRBDTokens

    private var version = ""
    private var numbers: [String: Int64] = [:]
    /// For each peer that has a bitmap, its index; and the flags of all peers.
    private var bitmapIndexes: [Int64: Int64] = [:]
    private var flags: [Int64: Int64] = [:]
    private(set) var extents: ExtentCollector?
    private(set) var warnings: [String] = []

    init(_ bytes: [UInt8], _ source: ChangeMapInput, peer: Int?) {
        self.source = source
        wantedPeer = peer
        tokens = DRBDTokens(bytes)
    }

    mutating func read() throws(ChangeMapError) {
        while let token = tokens.next() {
            guard case .word(let word) = token else { throw damaged("a statement was expected") }
            let key = String(decoding: word, as: UTF8.self)
            if key.hasPrefix("This_is_an_unclean") {
                throw source.error(
                    .untrustworthy, at: tokens.place,
                    "the dump says that its bitmap can't be trusted: the activity log was not "
                        + "applied",
                    remedy: "Run `drbdmeta … apply-al`, then dump without --force.")
            }
            try readStatement(key)
        }
        guard extents != nil else { throw noBitmap() }
    }

    private mutating func readStatement(_ key: String) throws(ChangeMapError) {
        var index: Int64?
        var values: [ArraySlice<UInt8>] = []
        while let token = tokens.next() {
            switch token {
            case .word(let word):
                guard values.count < 64 else { throw damaged("the statement has no end") }
                values.append(word)
            case .mark(UInt8(ascii: "[")):
                guard case .word(let word)? = tokens.next(),
                    case .mark(UInt8(ascii: "]"))? = tokens.next()
                else { throw damaged("an index was expected") }
                index = try source.number(word, "index", at: tokens.place)
            case .mark(UInt8(ascii: ";")): return try keep(key, values)
            case .mark(UInt8(ascii: "{")): return try readBlock(key, index)
            default: throw damaged("a value was expected")
            }
        }
        throw damaged("the dump is cut off")
    }

    private mutating func keep(
        _ key: String, _ values: [ArraySlice<UInt8>]
    ) throws(ChangeMapError) {
        switch key {
        case "version":
            version = values.map { String(decoding: $0, as: UTF8.self) }.joined()
            guard version == "\"v08\"" || version == "\"v09\"" else {
                throw source.error(
                    .unsupported, at: tokens.place,
                    "version \(excerpt(version.utf8)) of DRBD's metadata isn't supported",
                    remedy: "Those of v08 and v09 are.")
            }
        case "la-size-sect", "bm-byte-per-bit":
            guard numbers[key] == nil, let value = values.first, values.count == 1 else {
                throw damaged("\(key) has no value, or two")
            }
            numbers[key] = try source.number(value, key, at: tokens.place)
        default: break
        }
    }

    private mutating func readBlock(_ key: String, _ index: Int64?) throws(ChangeMapError) {
        switch key {
        case "peer": try readPeer(index ?? 0)
        // Version 8 knows one peer, and its flags stand with the identifiers.
        case "uuid": try readPeer(0)
        case "bm", "bitmap": try readBitmap(key, index)
        default:
            while let token = tokens.next() {
                if case .mark(UInt8(ascii: "}")) = token { return }
            }
            throw damaged("the dump is cut off")
        }
    }

    /// The pairs in the block of a peer that matter.
    private mutating func readPeer(_ peer: Int64) throws(ChangeMapError) {
        guard peer < Self.peerCountMax else { throw damaged("there can't be a peer \(peer)") }
        var previous: [UInt8] = []
        while let token = tokens.next() {
            switch token {
            case .mark(UInt8(ascii: "}")): return
            case .mark: previous = []
            case .word(let word):
                if previous.elementsEqual("flags".utf8) {
                    flags[peer] = try source.number(word, "flags", .c, at: tokens.place)
                } else if previous.elementsEqual("bitmap-index".utf8),
                    !word.elementsEqual("-1".utf8)
                {
                    let index = try source.number(word, "bitmap-index", at: tokens.place)
                    bitmapIndexes[peer] = index
                }
                previous = Array(word.prefix(32))
            }
        }
        throw damaged("the dump is cut off")
    }

    private func damaged(_ problem: String) -> ChangeMapError {
        source.malformed(tokens.place, problem)
    }

    private func noBitmap() -> ChangeMapError {
        source.error(
            .unsupported, at: nil, "the dump has no bitmap of a peer",
            remedy: "DRBD keeps one only once it has been connected: copy everything.")
    }
}

extension DRBDReader {
    private mutating func readBitmap(_ key: String, _ index: Int64?) throws(ChangeMapError) {
        guard extents == nil || key == "bitmap" else { throw damaged("a second bitmap") }
        let peer = try chosenPeer()
        guard extents == nil, key == "bm" || index == bitmapIndexes[peer] else {
            return try readWords { _, _ throws(ChangeMapError) in }
        }
        guard let sectors = numbers["la-size-sect"], let unit = numbers["bm-byte-per-bit"],
            sectors > 0, sectors <= Int64.max >> 9
        else {
            throw damaged("the sizes of disk and bits (la-size-sect, bm-byte-per-bit) are missing")
        }
        try BlockSizeRule.drbd.check(unit, source, at: tokens.place)
        let size = sectors << 9
        var found = ExtentCollector(source, order: .ascending, unit: unit)
        try found.declare(size: size, at: tokens.place)
        let bitCount = size / unit + (size % unit).signum()
        if flags[peer, default: 0] & Self.fullSyncFlag != 0 {
            try found.add(0, count: bitCount, .copy, at: tokens.place)
            warnings.append(
                "\(source.name) asks for a full synchronisation: all of the disk counts as changed."
            )
            try readWords { _, _ throws(ChangeMapError) in }
        } else {
            let place = tokens.place
            var bit: Int64 = 0
            try readWords { word, count throws(ChangeMapError) in
                try Self.add(word, count, &bit, of: bitCount, to: &found, place)
            }
            guard bit >= bitCount else { throw damaged("the bitmap is shorter than the disk") }
        }
        extents = found
    }

    /// The peer that was asked for, or the only one that has a bitmap.
    private func chosenPeer() throws(ChangeMapError) -> Int64 {
        if version == "\"v08\"" { return 0 }
        let peers = bitmapIndexes.keys.sorted()
        let shown = peers.prefix(32).map(String.init).joined(separator: ", ")
        guard !peers.isEmpty else { throw noBitmap() }
        if let wantedPeer {
            guard bitmapIndexes[Int64(wantedPeer)] != nil else {
                throw source.error(
                    .option(.peer), "the dump has no bitmap of peer \(wantedPeer)",
                    remedy: "It has bitmaps of \(shown): give one of these.")
            }
            return Int64(wantedPeer)
        }
        guard peers.count == 1 else {
            throw source.error(
                .option(.peer), "the dump has bitmaps of several peers: \(shown)",
                remedy: "Give the node id of one of them.")
        }
        return peers[0]
    }

    /// Passes the words of a bitmap on, `0x…;` once and `N times 0x…;` with their number.
    private mutating func readWords(
        _ body: (_ word: UInt64, _ count: Int64) throws(ChangeMapError) -> Void
    ) throws(ChangeMapError) {
        while let token = tokens.next() {
            if case .mark(UInt8(ascii: "}")) = token { return }
            guard case .word(var word) = token else { throw damaged("a word was expected") }
            var count: Int64 = 1
            if !word.starts(with: "0x".utf8) {
                count = try source.number(word, "number of words", at: tokens.place)
                guard case .word(let times)? = tokens.next(), times.elementsEqual("times".utf8),
                    case .word(let repeated)? = tokens.next()
                else { throw damaged("'times' and a word were expected") }
                word = repeated
            }
            let digits = String(decoding: word.dropFirst(2), as: UTF8.self)
            guard word.count == 18, word.starts(with: "0x".utf8),
                digits.utf8.first != UInt8(ascii: "+"), let value = UInt64(digits, radix: 16),
                case .mark(UInt8(ascii: ";"))? = tokens.next()
            else { throw damaged("a word of 16 hexadecimal digits and a semicolon were expected") }
            try body(value, count)
        }
        throw damaged("the dump is cut off")
    }

    /// Adds the set bits of a word that comes `count` times; bit 0 is the lowest on the disk.
    ///
    /// Bits behind the end of the disk fill up the last sector of the bitmap and mean nothing.
    private static func add(
        _ word: UInt64, _ count: Int64, _ bit: inout Int64, of bitCount: Int64,
        to extents: inout ExtentCollector, _ place: ChangeMapError.Place
    ) throws(ChangeMapError) {
        let (bits, overflows) = count.multipliedReportingOverflow(by: 64)
        let end = overflows ? bitCount : min(bitCount, bit.addingClamped(bits))
        if word == ~0, bit < end {
            try extents.add(bit, count: end - bit, .copy, at: place)
        } else if word != 0 {
            var start = bit
            while start < end {
                var rest = word
                var position: Int64 = 0
                while rest != 0 {
                    let zeros = Int64(rest.trailingZeroBitCount)
                    rest >>= UInt64(zeros)
                    let ones = Int64((~rest).trailingZeroBitCount)
                    rest = ones == 64 ? 0 : rest >> UInt64(ones)
                    let run = start + position + zeros
                    if run < end {
                        try extents.add(run, count: min(ones, end - run), .copy, at: place)
                    }
                    position += zeros + ones
                }
                start += 64
            }
        }
        bit = overflows ? .max : bit.addingClamped(bits)
    }
}

extension Int64 {
    fileprivate func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? .max : sum
    }
}

extension ChangeMap {
    /// What is out of sync with a peer.
    static func readDRBD(
        _ bytes: [UInt8], _ source: ChangeMapInput, peer: Int?
    ) throws(ChangeMapError) -> ChangeMap {
        var reader = DRBDReader(bytes, source, peer: peer)
        try reader.read()
        guard let extents = reader.extents else {
            throw source.malformed(nil, "the dump has no bitmap")
        }
        return try extents.finish(.drbd, gaps: .skip, warnings: reader.warnings)
    }
}
