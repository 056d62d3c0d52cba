public import SystemPackage

/// An error as values, for whoever tells it: a command line, a service, another language.
///
/// `description` puts `problem` and `remedy` together, in the words of the library. A front end
/// that has names of its own for the ways on asks for `text`.
public protocol DescribedError: Error, CustomStringConvertible {
    /// What it means to a caller.
    var category: ErrorCategory { get }
    /// Which error it is, for programs.
    var code: ErrorCode { get }
    /// The file or disk that it is about; nil if it is about none, or about several.
    var path: FilePath? { get }
    /// Where in the file or disk, in bytes; nil if it is about no one place.
    var offset: Int64? { get }
    /// What is wrong, without a full stop at its end.
    var problem: String { get }
    /// What to do about it.
    var remedy: Remedy { get }
}

extension DescribedError {
    public var offset: Int64? { nil }

    /// What is wrong and what to do about it.
    ///
    /// - Parameter words: what to call a way on; see `Remedy.text`.
    public func text(_ words: (Way) -> String) -> String {
        remedy.isEmpty ? problem : "\(problem). \(remedy.text(words))"
    }

    public var description: String { text(\.description) }
}
