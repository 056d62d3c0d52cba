public import SystemPackage

/// Why a file that is there can't be used as the image that it is said to be.
public struct ImageProblem: Equatable, Sendable {
    /// What kind of trouble it is.
    public enum Kind: Sendable, Equatable {
        /// It breaks the rules of its format.
        case malformed
        /// It is as its format wants it, and uses something that ringmirror does not know.
        case unsupported
        /// It does not hold what was asked for by name.
        case missing
        /// It is in a state in which the operation would do harm.
        case refused
        /// A limit of the format is reached.
        case full
    }

    /// The file.
    public let file: FilePath
    /// What kind of trouble it is.
    public let kind: Kind
    /// Where in the file, in bytes; nil if it is about no one place.
    public let offset: Int64?
    /// What is wrong: a clause without a full stop.
    public let what: String
    /// What to do about it.
    public let remedy: Remedy
    /// What the same mistake is called wherever it is made, as with bitmaps, which may be kept
    /// elsewhere; nil: it is one of images alone.
    private let ownCode: ErrorCode?

    /// A problem of the file at `path`.
    ///
    /// - Parameter code: what the same mistake is called wherever it is made; nil: by `kind`.
    public init(
        _ kind: Kind, _ path: FilePath, at offset: Int64? = nil, _ what: String,
        remedy: Remedy = .none, code: ErrorCode? = nil
    ) {
        ownCode = code
        self.kind = kind
        file = path
        self.offset = offset
        self.what = what
        self.remedy = remedy
    }
}

extension ImageProblem: DescribedError {
    public var category: ErrorCategory {
        switch kind {
        case .unsupported, .missing, .full: .usage
        case .malformed, .refused: .refused
        }
    }

    public var code: ErrorCode {
        if let ownCode { return ownCode }
        return switch kind {
        case .malformed: .imageMalformed
        case .unsupported: .imageUnsupported
        case .missing: .imageLacks
        case .refused: .imageRefused
        case .full: .imageFull
        }
    }

    public var path: FilePath? { file }

    public var problem: String {
        "\(file)\(offset.map { ", at offset \($0)" } ?? ""): \(what)"
    }
}
