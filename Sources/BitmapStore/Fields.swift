internal import SystemPackage

/// What the directory is made of: values that say how long they are, so that a later version can
/// add some. A field is a tag, flags and a length, then that many bytes.
///
/// Who does not know a tag skips it, unless its flags say that the rest can't be understood
/// without it.
struct FieldWriter {
    static let isRequired: UInt16 = 1

    private(set) var bytes: [UInt8] = []

    mutating func put(_ tag: UInt16, _ value: [UInt8], flags: UInt16 = 0) {
        bytes.append(littleEndian: tag)
        bytes.append(littleEndian: flags)
        bytes.append(littleEndian: UInt32(value.count))
        bytes += value
    }

    mutating func put(_ tag: UInt16, _ value: (some FixedWidthInteger)?) {
        guard let value else { return }
        var bytes: [UInt8] = []
        bytes.append(littleEndian: value)
        put(tag, bytes)
    }

    mutating func put(_ tag: UInt16, _ text: String?) {
        if let text { put(tag, Array(text.utf8)) }
    }

    mutating func put(_ tag: UInt16, _ fields: FieldWriter?) {
        if let fields { put(tag, fields.bytes) }
    }
}

/// Why a directory can't be read; the caller adds the file and offset.
enum FieldError: Error, Equatable {
    case damaged(String)
    case unsupported(String)
}

/// A sequence of fields, with every length checked before it is believed.
struct FieldReader {
    struct Field {
        let tag: UInt16
        let flags: UInt16
        let value: ArraySlice<UInt8>
    }

    let fields: [Field]

    /// More than any directory has; keeps one made of nothing but headers from filling memory.
    private static let fieldsMax = 1 << 15

    init(_ bytes: ArraySlice<UInt8>) throws(FieldError) {
        var fields: [Field] = []
        var rest = bytes
        while !rest.isEmpty {
            guard rest.count >= 8,
                let tag = rest.prefix(2).littleEndian(as: UInt16.self),
                let flags = rest.dropFirst(2).prefix(2).littleEndian(as: UInt16.self),
                let length = rest.dropFirst(4).prefix(4).littleEndian(as: UInt32.self),
                Int(length) <= rest.count - 8
            else { throw .damaged("a field is longer than the directory") }
            guard fields.count < Self.fieldsMax else { throw .damaged("there are too many fields") }
            rest = rest.dropFirst(8)
            fields.append(Field(tag: tag, flags: flags, value: rest.prefix(Int(length))))
            rest = rest.dropFirst(Int(length))
        }
        self.fields = fields
    }

    /// Refuses what must be understood and is not, and flags that do not exist yet.
    func checkTags(_ known: ClosedRange<UInt16>, in what: String) throws(FieldError) {
        var seen: Set<UInt16> = []
        for field in fields {
            guard field.flags & ~FieldWriter.isRequired == 0 else {
                throw .unsupported("field \(field.tag) of a \(what) has flags \(field.flags)")
            }
            guard known.contains(field.tag) else {
                if field.flags & FieldWriter.isRequired == 0 { continue }
                throw .unsupported("a \(what) has a field \(field.tag) that must be understood")
            }
            guard seen.insert(field.tag).inserted else {
                throw .damaged("a \(what) has two fields \(field.tag)")
            }
        }
    }

    /// The parts of a list: fields with the tags 1, 2, 3 and so on, each of fields.
    func numbered(_ what: String) throws(FieldError) -> [FieldReader] {
        var parts: [FieldReader] = []
        for (index, field) in fields.enumerated() {
            guard field.tag == index + 1, field.flags == 0 else {
                throw .damaged("\(what) \(field.tag) is where \(index + 1) has to be")
            }
            parts.append(try FieldReader(field.value))
        }
        return parts
    }

    func bytes(_ tag: UInt16) -> ArraySlice<UInt8>? { fields.first { $0.tag == tag }?.value }

    func number<Number: FixedWidthInteger>(
        _ tag: UInt16, as type: Number.Type = Number.self
    ) throws(FieldError) -> Number? {
        guard let bytes = bytes(tag) else { return nil }
        guard let number = bytes.littleEndian(as: type) else {
            throw .damaged("field \(tag) has \(bytes.count) bytes")
        }
        return number
    }

    func text(_ tag: UInt16) throws(FieldError) -> String? {
        guard let bytes = bytes(tag) else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .damaged("field \(tag) is not text")
        }
        return text
    }

    func fields(_ tag: UInt16) throws(FieldError) -> FieldReader? {
        guard let bytes = bytes(tag) else { return nil }
        return try FieldReader(bytes)
    }

    func word<Word: RawRepresentable>(
        _ tag: UInt16, as type: Word.Type = Word.self
    ) throws(FieldError) -> Word? where Word.RawValue == String {
        guard let text = try text(tag) else { return nil }
        guard let word = Word(rawValue: text) else {
            throw .unsupported("it has a \(type) '\(text)'")
        }
        return word
    }
}

/// A value that must be there.
func need<Value>(_ value: Value?, _ what: String) throws(FieldError) -> Value {
    guard let value else { throw .damaged("\(what) is missing") }
    return value
}
