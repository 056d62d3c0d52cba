/// Bytes as strings and back, without loss.
///
/// A byte that belongs to no UTF-8 sequence becomes a character of a private plane, one for each
/// value. Where the text has one of these characters itself, its bytes are escaped as well, so
/// that no two byte sequences become the same string.
enum ByteEscape {
    /// U+10FF00 + byte; only bytes from 0x80 on are ever escaped.
    private static let base: UInt32 = 0x10FF00
    private static let escaped: ClosedRange<UInt32> = (base + 0x80)...(base + 0xFF)

    static func escape(_ bytes: some Sequence<CChar>) -> String {
        var text = String.UnicodeScalarView()
        var decoder = Unicode.UTF8.ForwardParser()
        var input = bytes.map { UInt8(bitPattern: $0) }[...]
        while !input.isEmpty {
            var rest = input.makeIterator()
            if case .valid(let encoded) = decoder.parseScalar(from: &rest) {
                let scalar = Unicode.UTF8.decode(encoded)
                if !escaped.contains(scalar.value) {
                    text.append(scalar)
                    input = input.dropFirst(encoded.count)
                    decoder = Unicode.UTF8.ForwardParser()
                    continue
                }
            }
            text.append(scalar(for: input.removeFirst()))
            decoder = Unicode.UTF8.ForwardParser()
        }
        return String(text)
    }

    /// The bytes that a text stands for.
    static func bytes(of text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            if let byte = byte(of: scalar) {
                bytes.append(byte)
            } else {
                bytes.append(contentsOf: String(scalar).utf8)
            }
        }
        return bytes
    }

    /// The byte that a character stands for; nil if it stands for itself.
    static func byte(of scalar: Unicode.Scalar) -> UInt8? {
        escaped.contains(scalar.value) ? UInt8(scalar.value - base) : nil
    }

    private static func scalar(for byte: UInt8) -> Unicode.Scalar {
        // ASCII is UTF-8 by itself; every other value has its character.
        Unicode.Scalar(base + UInt32(byte)) ?? "\u{FFFD}"
    }
}
