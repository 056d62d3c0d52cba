import FoundationEssentials

/// The entries of a JSON list, or what keeps the text from being one.
func jsonList<Entry: Decodable>(
    of type: Entry.Type, _ bytes: [UInt8], _ source: ChangeMapInput
) throws(ChangeMapError) -> [Entry] {
    do {
        return try JSONDecoder().decode([Entry].self, from: Data(bytes))
    } catch let error as DecodingError {
        throw source.malformed(nil, "the JSON \(explanation(of: error))")
    } catch {
        throw source.malformed(nil, "the JSON can't be read")
    }
}

/// The decoder's own words, with the number of the entry that it was in.
private func explanation(of error: DecodingError) -> String {
    func at(_ context: DecodingError.Context) -> String {
        let index = context.codingPath.lazy.compactMap(\.intValue).first
        let keys = context.codingPath.filter { $0.intValue == nil }.map { "'\($0.stringValue)'" }
        let entry = index.map { " in entry \($0 + 1)" } ?? ""
        return keys.isEmpty ? entry : "\(entry) at \(keys.joined(separator: "."))"
    }
    return switch error {
    case .keyNotFound(let key, let context): "has no '\(key.stringValue)'\(at(context))"
    case .typeMismatch(_, let context): "has a value of the wrong type\(at(context))"
    case .valueNotFound(_, let context): "has no value\(at(context))"
    case .dataCorrupted(let context):
        "is not well-formed, or a number is too large\(at(context))"
    @unknown default: "can't be read"
    }
}
