/// A start tag.
struct MapElement {
    let name: String
    /// The names of the elements around it, from the root on.
    let path: [String]
    /// The values as they stand in the file; none that matters has references in it.
    let attributes: [String: String]
    let line: Int

    var place: ChangeMapError.Place { .line(line) }

    /// The number in an attribute that has to be there.
    func number(_ key: String, _ source: ChangeMapInput) throws(ChangeMapError) -> Int64 {
        guard let text = attributes[key] else {
            throw source.malformed(place, "<\(excerpt(name.utf8))> has no attribute '\(key)'")
        }
        return try source.number(text.utf8, key, at: place)
    }

    /// An element that the format doesn't have: passing over it could lose a change.
    func unexpected(_ source: ChangeMapInput) -> ChangeMapError {
        source.malformed(place, "<\(excerpt(name.utf8))> isn't expected here")
    }
}

/// What makes a map of the elements of one format.
protocol MapElementHandler {
    /// A start tag, or an empty element.
    mutating func open(_ element: MapElement) throws(ChangeMapError)

    /// An end tag, with the text since the last tag.
    mutating func close(_ name: String, text: String, line: Int) throws(ChangeMapError)
}

/// Passes the elements of an XML file to a handler, in the order in which they stand there.
func readXML(
    _ bytes: [UInt8], _ source: ChangeMapInput, _ handler: inout some MapElementHandler
) throws(ChangeMapError) {
    var scanner = XMLScanner(bytes, source)
    var path: [String] = []
    var text: [UInt8] = []
    var hasRoot = false
    while let token = try scanner.next() {
        switch token {
        case .text(let piece):
            guard !path.isEmpty || piece.allSatisfy(XMLScanner.isBlank) else {
                throw source.malformed(
                    .line(scanner.line), "text stands outside of the root element")
            }
            // No element that is looked at has longer text.
            text += piece.prefix(max(0, 4096 - text.count))
        case .start(let name, let attributes, let isEmpty):
            let element = MapElement(
                name: name, path: path, attributes: attributes, line: scanner.tokenLine)
            guard path.count < 16, !path.isEmpty || !hasRoot else {
                throw element.unexpected(source)
            }
            hasRoot = true
            text.removeAll(keepingCapacity: true)
            try handler.open(element)
            if isEmpty {
                try handler.close(name, text: "", line: scanner.tokenLine)
            } else {
                path.append(name)
            }
        case .end(let name):
            guard path.last == name else {
                throw source.malformed(
                    .line(scanner.tokenLine), "</\(excerpt(name.utf8))> has no beginning")
            }
            path.removeLast()
            let content = String(decoding: text, as: UTF8.self)
            text.removeAll(keepingCapacity: true)
            try handler.close(name, text: content, line: scanner.tokenLine)
        }
    }
    guard hasRoot, path.isEmpty else {
        throw source.malformed(
            .line(scanner.line),
            "<\(excerpt((path.last ?? "").utf8))> isn't closed: the file is cut off")
    }
}
