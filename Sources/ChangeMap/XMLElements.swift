import Foundation
import FoundationXML

/// A start tag.
struct MapElement {
    let name: String
    /// The names of the elements around it, from the root on.
    let path: [String]
    let attributes: [String: String]
    let line: Int

    var place: ChangeMapError.Place { .line(line) }

    /// The number in an attribute that has to be there.
    func number(_ key: String, _ source: MapSource) throws(ChangeMapError) -> Int64 {
        guard let text = attributes[key] else {
            throw source.malformed(place, "<\(name)> has no attribute '\(key)'")
        }
        return try source.number(text.utf8, key, at: place)
    }

    /// An element that the format doesn't have: passing over it could lose a change.
    func unexpected(_ source: MapSource) -> ChangeMapError {
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
///
/// None of the formats has a document type, entities of its own, or an encoding other than UTF-8:
/// files with these are refused before the XML parser sees them, and with them everything that
/// entities can be abused for.
func readXML(
    _ bytes: [UInt8], _ source: MapSource, _ handler: inout some MapElementHandler
) throws(ChangeMapError) {
    let prolog = bytes.prefix(256).prefix { $0 != UInt8(ascii: ">") }
    let declaration = String(decoding: prolog, as: UTF8.self).lowercased()
    let namesEncoding = declaration.contains("encoding")
    guard !bytes.contains(0), bytes.firstRange(of: Array("<!DOCTYPE".utf8)) == nil,
        !namesEncoding || declaration.contains("utf-8") || declaration.contains("us-ascii")
    else {
        throw source.error(
            .unsupported, "the XML has a document type, or isn't UTF-8; no change map has",
            remedy: "See where the file comes from.")
    }
    let delegate = XMLDelegate(source, handler)
    let parser = XMLParser(data: Data(bytes))
    parser.shouldResolveExternalEntities = false
    parser.delegate = delegate
    let isWellFormed = parser.parse()
    if let failure = delegate.failure { throw failure }
    guard isWellFormed, delegate.isComplete else {
        throw source.malformed(.line(parser.lineNumber), "the XML is not well-formed")
    }
    handler = delegate.handler
}

/// Keeps what Foundation's parser says until a handler wants it.
private final class XMLDelegate<Handler: MapElementHandler>: NSObject, XMLParserDelegate {
    private static var depthMax: Int { 16 }
    /// No element that is looked at has longer text.
    private static var textMax: Int { 4096 }

    let source: MapSource
    var handler: Handler
    var failure: ChangeMapError?
    private var path: [String] = []
    private var text = ""
    private var hasRoot = false

    init(_ source: MapSource, _ handler: Handler) {
        self.source = source
        self.handler = handler
    }

    /// Whether the root was opened and closed.
    var isComplete: Bool { hasRoot && path.isEmpty }

    func parser(
        _ parser: XMLParser, didStartElement elementName: String, namespaceURI: String?,
        qualifiedName: String?, attributes: [String: String]
    ) {
        attempt(parser) { () throws(ChangeMapError) in
            let element = MapElement(
                name: elementName, path: path, attributes: attributes, line: parser.lineNumber)
            guard path.count < Self.depthMax else { throw element.unexpected(source) }
            hasRoot = true
            path.append(elementName)
            text = ""
            try handler.open(element)
        }
    }

    func parser(
        _ parser: XMLParser, didEndElement elementName: String, namespaceURI: String?,
        qualifiedName: String?
    ) {
        attempt(parser) { () throws(ChangeMapError) in
            _ = path.popLast()
            try handler.close(elementName, text: text, line: parser.lineNumber)
            text = ""
        }
    }

    func parser(_ parser: XMLParser, foundCharacters string: String) {
        if text.utf8.count < Self.textMax { text += string }
    }

    /// The parser knows no errors of ours: the first one is kept, and nothing is done after it.
    private func attempt(_ parser: XMLParser, _ body: () throws(ChangeMapError) -> Void) {
        guard failure == nil else { return }
        do {
            try body()
        } catch {
            failure = error
            parser.abortParsing()
        }
    }
}
