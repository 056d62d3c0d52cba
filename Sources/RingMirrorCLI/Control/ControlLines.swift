/// Makes lines of what comes in pieces. What it keeps is bounded, whatever comes.
struct ControlLines {
    /// The most bytes that a line may have.
    static let lengthMax = 64 << 10

    enum Line: Equatable {
        case line([UInt8])
        /// It had more than `lengthMax` bytes, and is left out to its end.
        case tooLong
    }

    private var bytes: [UInt8] = []
    /// Where the next line begins.
    private var start = 0
    /// Up to where no newline is.
    private var searched = 0
    /// What comes up to the next newline belongs to a line that is too long.
    private var isSkipping = false

    /// Whether it takes more before some lines were taken out.
    var hasRoom: Bool { bytes.count - start <= Self.lengthMax }

    mutating func append(_ more: [UInt8]) {
        if start > 0 {
            bytes.removeFirst(start)
            searched -= start
            start = 0
        }
        bytes += more
    }

    /// The next line, without its end; nil if it is not there yet. Empty lines are left out.
    mutating func next() -> Line? {
        while let newline = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
            var line = bytes[start..<newline]
            start = newline + 1
            searched = start
            if isSkipping {
                isSkipping = false
                continue
            }
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            guard line.count <= Self.lengthMax else { return .tooLong }
            if !line.isEmpty { return .line(Array(line)) }
        }
        searched = bytes.count
        guard bytes.count - start > Self.lengthMax || isSkipping else { return nil }
        defer { isSkipping = true }
        bytes = []
        start = 0
        searched = 0
        return isSkipping ? nil : .tooLong
    }
}
