/// One cluster of refcounts: numbers of 1 to 64 bits, big endian, those below a byte from its
/// lowest bits on.
struct RefcountBlock: Sendable {
    private(set) var bytes: [UInt8]
    private let order: Int
    /// Whether stable storage may have something else.
    var isDirty = false

    init(bytes: [UInt8], order: Int) {
        self.bytes = bytes
        self.order = order
    }

    var count: Int { (bytes.count * 8) >> order }

    /// The largest number that a refcount can be.
    static func max(order: Int) -> UInt64 { order == 6 ? .max : 1 << (1 << UInt64(order)) - 1 }

    subscript(index: Int) -> UInt64 {
        get {
            switch order {
            case 0, 1, 2:
                let bit = index << order
                return UInt64(bytes[bit >> 3] >> UInt8(bit & 7)) & Self.max(order: order)
            case 3: return UInt64(bytes[index])
            case 4: return UInt64(bytes.bigEndian16(at: index * 2))
            case 5: return UInt64(bytes.bigEndian32(at: index * 4))
            default: return bytes.bigEndian64(at: index * 8)
            }
        }
        set {
            isDirty = true
            switch order {
            case 0, 1, 2:
                let bit = index << order
                let shift = UInt8(bit & 7)
                let mask = UInt8(Self.max(order: order)) << shift
                bytes[bit >> 3] = bytes[bit >> 3] & ~mask | UInt8(newValue) << shift
            case 3: bytes[index] = UInt8(newValue)
            case 4: bytes.put(UInt16(newValue), at: index * 2)
            case 5: bytes.put(UInt32(newValue), at: index * 4)
            default: bytes.put(newValue, at: index * 8)
            }
        }
    }

    /// Counts clusters that were free as used once.
    ///
    /// Precondition: they are free.
    mutating func take(_ range: Range<Int>) {
        for index in range {
            precondition(self[index] == 0, "a cluster that is in use would be written over")
            self[index] = 1
        }
    }

    /// The first free clusters side by side from `start` on: at least `least` and at most `most`.
    func free(from start: Int, least: Int, most: Int) -> Range<Int>? {
        var first = start
        while first + least <= count {
            guard self[first] == 0 else {
                first += 1
                continue
            }
            var end = first + 1
            while end < count, end - first < most, self[end] == 0 { end += 1 }
            if end - first >= least { return first..<end }
            first = end + 1
        }
        return nil
    }
}
