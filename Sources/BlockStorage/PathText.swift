internal import SystemPackage

/// Paths as text, and which of them can be.
enum PathText {
    /// Refuses a path that is not UTF-8: as a string it would be the path of something else.
    static func check(_ path: FilePath) throws(StorageError) {
        let bytes = SystemCalls.bytes(of: path)
        if String(validating: bytes, as: UTF8.self) == nil {
            throw .nameNotUTF8(name: escaped(bytes))
        }
    }

    /// The bytes as text, those that are not UTF-8 as `\\xNN`.
    static func escaped(_ bytes: [UInt8]) -> String {
        var text = ""
        var rest = bytes[...]
        while !rest.isEmpty {
            // The longest character is four bytes.
            let character = (1...4).lazy.compactMap { length in
                rest.count < length
                    ? nil : String(validating: rest.prefix(length), as: UTF8.self)
            }.first
            if let character {
                text += character
                rest.removeFirst(character.utf8.count)
            } else {
                let digits = String(rest.removeFirst(), radix: 16)
                text += "\\x" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return text
    }
}
