/// Why a file can't be used as a change map, or a bitmap can't be written as one.
public struct ChangeMapError: Error, Sendable, Hashable {
    /// What sort of problem it is, for callers that treat them differently.
    public enum Kind: Sendable, Hashable {
        /// No known format looks like this.
        case unrecognized
        /// Two formats look like this, with different meanings.
        case ambiguous
        /// The format is known, and this version or variant of it isn't supported.
        case unsupported
        /// The format needs an option that wasn't given, or one that fits the file.
        case option(Option)
        /// The text breaks the rules of its format, or is cut off.
        case malformed
        /// Entries overlap, come in the wrong order, or leave gaps where there may be none.
        case misplaced
        /// The map describes more bytes than the disk has.
        case beyondDevice
        /// The file itself says, or its checksum shows, that it can't be relied on.
        case untrustworthy
        /// More input or more entries than are taken.
        case tooLarge
    }

    /// What the caller can say of a file: a value of `ChangeMapOptions`.
    public enum Option: Sendable, Hashable {
        case blockSize, thinDevice, peer
    }

    /// Where in the file.
    public enum Place: Sendable, Hashable {
        /// A line of text or XML, counted from 1.
        case line(Int)
        /// An offset into a binary file.
        case byte(Int)
        /// An entry of a JSON list, counted from 1.
        case entry(Int)
    }

    /// What sort of problem it is.
    public let kind: Kind

    /// The name of the file, as the caller gave it.
    public let file: String

    /// Where the problem was noticed; nil if it concerns the whole file.
    public let place: Place?

    /// What is wrong, without a full stop.
    public let problem: String

    /// What to do about it, as a sentence.
    public let remedy: String
}

extension ChangeMapError: CustomStringConvertible {
    public var description: String {
        let place =
            switch place {
            case .line(let line): ", line \(line)"
            case .byte(let offset): ", byte \(offset)"
            case .entry(let number): ", entry \(number)"
            case nil: ""
            }
        return "\(file)\(place): \(problem). \(remedy)"
    }
}
