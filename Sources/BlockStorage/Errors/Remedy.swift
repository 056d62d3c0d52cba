/// What to do about an error: sentences, in which the ways on that the library has itself are
/// values, so that each front end can call them by its own names.
///
/// It is written as a string is, with a `Way` wherever the text says what to do next:
/// `"Check that it is the one you mean, then \(.overwrite) to destroy it."`
public struct Remedy: Sendable, Hashable {
    private enum Piece: Sendable, Hashable {
        case text(String)
        case way(Way)
    }

    private var pieces: [Piece] = []

    /// Nothing can be said.
    public static let none = Remedy()

    /// Sentences that name no way.
    public init(_ text: String = "") {
        if !text.isEmpty { pieces = [.text(text)] }
    }

    /// Whether nothing is said.
    public var isEmpty: Bool { pieces.isEmpty }

    /// The ways that are named, in their order.
    public var ways: [Way] {
        pieces.compactMap { piece in
            guard case .way(let way) = piece else { return nil }
            return way
        }
    }

    /// The sentences.
    ///
    /// - Parameter words: what a way is called: a clause that begins with a verb in the imperative
    ///   and in lower case, such as `use --overwrite`. At the beginning of a sentence its first
    ///   letter becomes a capital.
    public func text(_ words: (Way) -> String) -> String {
        var text = ""
        for piece in pieces {
            switch piece {
            case .text(let more): text += more
            case .way(let way):
                let isBeginning = text.isEmpty || text.hasSuffix(". ")
                let clause = words(way)
                text += isBeginning ? clause.prefix(1).uppercased() + clause.dropFirst() : clause
            }
        }
        return text
    }

    /// Both, one after the other.
    public static func + (first: Remedy, second: Remedy) -> Remedy {
        var both = first
        both.pieces += second.pieces
        return both
    }
}

extension Remedy: ExpressibleByStringInterpolation, CustomStringConvertible {
    /// The pieces of a remedy as they are written.
    public struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var remedy = Remedy()

        /// Begins with nothing.
        public init(literalCapacity: Int, interpolationCount: Int) {}

        /// Text that is always the same.
        public mutating func appendLiteral(_ literal: String) { append(literal) }

        /// Names, numbers and the like.
        public mutating func appendInterpolation(_ value: some CustomStringConvertible) {
            append("\(value)")
        }

        /// A way on.
        public mutating func appendInterpolation(_ way: Way) { remedy.pieces.append(.way(way)) }

        /// Sentences that stand for themselves elsewhere.
        public mutating func appendInterpolation(_ other: Remedy) {
            remedy.pieces += other.pieces
        }

        private mutating func append(_ text: String) {
            if !text.isEmpty { remedy.pieces.append(.text(text)) }
        }
    }

    /// Takes text as it is written.
    public init(stringLiteral text: String) { self.init(text) }

    /// Takes text with values and ways in it.
    public init(stringInterpolation: StringInterpolation) { self = stringInterpolation.remedy }

    /// The sentences in the library's words.
    public var description: String { text(\.description) }
}
