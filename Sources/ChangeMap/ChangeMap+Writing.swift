public import DirtyBitmap

extension ChangeMap {
    /// The formats that can be written: those that can say that something did not change.
    public static let writableFormats: [ChangeMapFormat] = [
        .ddrescue, .qemuDirty, .ranges, .ringmirror,
    ]

    /// Writes what is dirty in a bitmap as a change map.
    ///
    /// Reading the result with the same format and the size of the bitmap marks exactly the same
    /// granules. Offsets are exact: a short last granule is written with its real length.
    ///
    /// - Parameters:
    ///   - bitmap: isn't changed.
    ///   - format: one of `writableFormats`.
    ///   - name: the name of the bitmap, which only our own format keeps; may be empty.
    /// - Throws: `unsupported` for any other format.
    /// - Complexity: O(words + runs).
    public static func write(
        _ bitmap: borrowing DirtyBitmap, format: ChangeMapFormat, name: String
    ) throws(ChangeMapError) -> [UInt8] {
        switch format {
        case .ddrescue: return ddrescueText(bitmap)
        case .qemuDirty: return qemuText(bitmap)
        case .ranges: return rangesText(bitmap)
        case .ringmirror: return ringmirrorText(bitmap, name)
        default:
            let names = writableFormats.map(\.rawValue).joined(separator: ", ")
            throw ChangeMapError(
                kind: .unsupported, file: name, place: nil,
                problem: "a bitmap can't be written as \(format.rawValue)",
                remedy: "Use one of \(names).")
        }
    }

    private static func ddrescueText(_ bitmap: borrowing DirtyBitmap) -> [UInt8] {
        var text = Text()
        text.add("# Mapfile. Created by ringmirror\n")
        text.add("# current_pos  current_status  current_pass\n")
        text.add("0x00000000     ?               1\n")
        text.add("#      pos        size  status\n")
        forEachStretch(of: bitmap) { range, isDirty in
            text.add(hexadecimal(range.lowerBound), "  ", hexadecimal(Int64(range.count)))
            text.add(isDirty ? "  ?\n" : "  +\n")
        }
        return text.bytes
    }

    /// As `qemu-img map` shows an export with `x-dirty-bitmap`.
    private static func qemuText(_ bitmap: borrowing DirtyBitmap) -> [UInt8] {
        var text = Text()
        var separator = "["
        forEachStretch(of: bitmap) { range, isDirty in
            text.add(separator, "{ \"start\": \(range.lowerBound), \"length\": \(range.count), ")
            text.add("\"depth\": 0, \"present\": \(!isDirty), \"zero\": false, ")
            text.add("\"data\": \(!isDirty)}")
            separator = ",\n "
        }
        text.add(bitmap.size == 0 ? "[]\n" : "]\n")
        return text.bytes
    }

    private static func rangesText(_ bitmap: borrowing DirtyBitmap) -> [UInt8] {
        var text = Text()
        text.add(RangeList.header, ": offset and length of what changed, in bytes\n")
        bitmap.forEachDirtyRun { text.add("\($0.lowerBound) \($0.count)\n") }
        return text.bytes
    }

    private static func ringmirrorText(
        _ bitmap: borrowing DirtyBitmap, _ name: String
    ) -> [UInt8] {
        var text = Text()
        text.add(RingmirrorExport.magic, "\n")
        if !name.isEmpty { text.add("name ", RingmirrorExport.encoded(name), "\n") }
        text.add("size \(bitmap.size)\ngranularity \(bitmap.granularity.bytes)\n")
        text.add("# Offset and length of what is dirty, in bytes.\n")
        var count = 0
        bitmap.forEachDirtyRun { run in
            text.add("\(run.lowerBound) \(run.count)\n")
            count += 1
        }
        text.add("end \(count)\n")
        return text.bytes
    }

    /// All of the disk in ascending order, dirty and clean by turns.
    private static func forEachStretch(
        of bitmap: borrowing DirtyBitmap, _ body: (Range<Int64>, _ isDirty: Bool) -> Void
    ) {
        var position: Int64 = 0
        bitmap.forEachDirtyRun { run in
            if position < run.lowerBound { body(position..<run.lowerBound, false) }
            body(run, true)
            position = run.upperBound
        }
        if position < bitmap.size { body(position..<bitmap.size, false) }
    }

    /// At least eight digits, as ddrescue writes numbers.
    private static func hexadecimal(_ number: Int64) -> String {
        let digits = String(number, radix: 16, uppercase: true)
        return "0x" + String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
    }
}

/// Text in the making, as bytes.
private struct Text {
    var bytes: [UInt8] = []

    mutating func add(_ pieces: String...) {
        for piece in pieces { bytes.append(contentsOf: piece.utf8) }
    }
}
