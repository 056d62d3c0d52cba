/// The file that is being read and the disk that it is read for: what every parser needs to know,
/// and what makes its errors.
struct ChangeMapInput: Sendable {
    typealias Place = ChangeMapError.Place

    /// The name of the file, for messages.
    let name: String

    /// Bytes of the disk.
    let deviceSize: Int64

    func error(
        _ kind: ChangeMapError.Kind, at place: Place? = nil, _ problem: String, remedy: String
    ) -> ChangeMapError {
        ChangeMapError(kind: kind, file: name, place: place, problem: problem, remedy: remedy)
    }

    /// The file breaks the rules of its format.
    func malformed(_ place: Place?, _ problem: String) -> ChangeMapError {
        error(
            .malformed, at: place, problem,
            remedy: "The file is damaged, cut off or of another format: make it again.")
    }

    /// The number in a field.
    ///
    /// - Throws: `malformed` if it isn't one, is negative, or is beyond the largest disk.
    func number(
        _ field: some BidirectionalCollection<UInt8>, _ what: String,
        _ syntax: NumberSyntax = .decimal,
        at place: Place
    ) throws(ChangeMapError) -> Int64 {
        if let number = syntax.parse(field) { return number }
        let text = excerpt(field)
        throw malformed(place, "the \(what) '\(text)' is not a number from 0 to \(Int64.max)")
    }
}

/// The beginning of a field, harmless to print: input may be long, and may not be text at all.
func excerpt(_ field: some Collection<UInt8>) -> String {
    let shown = field.prefix(40).map { (32..<127).contains($0) ? $0 : UInt8(ascii: "?") }
    return String(decoding: shown, as: UTF8.self) + (field.count > 40 ? "…" : "")
}
