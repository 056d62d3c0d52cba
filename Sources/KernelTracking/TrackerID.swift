/// Tells a tracker from every other one that there was or will be, also of the same name.
public struct TrackerID: Hashable, Sendable {
    /// 16 bytes, drawn when tracking started.
    public let bytes: [UInt8]

    /// The identity that was kept elsewhere; nil if these are not 16 bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    static let byteCount = 16

    static func random() -> TrackerID {
        var generator = SystemRandomNumberGenerator()
        return TrackerID(drawnWith: &generator)
    }

    private init(drawnWith generator: inout some RandomNumberGenerator) {
        bytes = (0..<Self.byteCount).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}

extension TrackerID: CustomStringConvertible {
    /// 32 hexadecimal digits.
    public var description: String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
