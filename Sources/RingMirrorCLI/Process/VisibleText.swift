/// Text with everything made visible that a terminal would act on instead of showing it.
///
/// Names of files and bitmaps come from strangers: one with an escape sequence in it must not move
/// the cursor, and one with a newline must not look like a message of its own.
enum VisibleText {
    /// One line: control characters become `\n`, `\t` or `\xNN`, and so do bytes that are no UTF-8.
    static func line(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { isHidden($0) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if isHidden(scalar) {
                result += escape(scalar)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A line of JSON that stays one: what a terminal would act on becomes the escape that JSON has
    /// for it, and bytes that are no UTF-8 the text `\xNN`, which a string of JSON can't hold
    /// otherwise.
    static func json(_ line: String) -> String {
        guard line.unicodeScalars.contains(where: { isHidden($0) }) else { return line }
        var result = ""
        for scalar in line.unicodeScalars {
            if ByteEscape.byte(of: scalar) != nil {
                result += "\\" + escape(scalar)
            } else if isHidden(scalar) {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        // Such as the ones that turn the direction of writing around.
        case .format: scalar.value != 0x200D
        default: ByteEscape.byte(of: scalar) != nil
        }
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        default:
            let value = ByteEscape.byte(of: scalar).map { UInt32($0) } ?? scalar.value
            let digits = String(value, radix: 16, uppercase: true)
            if scalar.value < 0x80 || ByteEscape.byte(of: scalar) != nil {
                return "\\x" + (digits.count < 2 ? "0" : "") + digits
            }
            return "\\u{" + digits + "}"
        }
    }
}
