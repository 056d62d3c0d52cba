import RingMirror

/// Draws a disk from its first byte to its last in rows of cells, each the darker the more of it is
/// dirty. A single dirty granule shows.
enum DirtyPicture {
    private static let rows: Int64 = 4
    private static let columns = 64

    static func lines(of bits: borrowing DirtyBitmap) -> [String] {
        guard bits.size > 0 else { return [] }
        var cell = bits.granularity.bytes
        while cell < (bits.size + rows * Int64(columns) - 1) / (rows * Int64(columns)) { cell *= 2 }
        var text = ""
        var start: Int64 = 0
        while start < bits.size {
            let end = min(bits.size - start, cell) + start
            text.append(shade(bits.dirtyBytes(in: start..<end), end - start))
            start = end
        }
        var lines: [String] = []
        while !text.isEmpty {
            lines.append(" " + text.prefix(columns))
            text = String(text.dropFirst(columns))
        }
        return lines + [
            " \(ByteSize.text(cell)) each: · clean, ░ ▒ ▓ up to 1/3, 2/3, not all dirty, █ all"
        ]
    }

    private static func shade(_ dirty: Int64, _ size: Int64) -> Character {
        if dirty == 0 { return "·" }
        if dirty == size { return "█" }
        let share = Double(dirty) / Double(size)
        return share <= 1.0 / 3 ? "░" : share <= 2.0 / 3 ? "▒" : "▓"
    }
}
