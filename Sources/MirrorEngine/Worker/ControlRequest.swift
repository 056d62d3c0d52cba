package import Ring

/// A request that moves no bytes of a run. Nobody waits for its end but the job.
package enum ControlRequest: Sendable, Equatable {
    /// Waits until the file is on stable storage: at the job's end, with nothing in flight.
    case flush(FileIndex)
    /// The same for what has been written so far, while the job goes on.
    case checkpoint(FileIndex)
    /// Waits until the page cache has brought a range of the file to its storage. A failure is a
    /// loss.
    case writeBack(FileIndex, Range<Int64>)
    /// A hint about a range of the file in the page cache, whose failure means nothing.
    case dropCache(FileIndex, Range<Int64>)

    var request: Request {
        switch self {
        case .flush(let file): .sync(file)
        case .checkpoint(let file): .dataSync(file)
        case .writeBack(let file, let range):
            .writeBack(file, at: range.lowerBound, count: Int64(range.count))
        case .dropCache(let file, let range):
            .dropCache(file, at: range.lowerBound, count: Int64(range.count))
        }
    }

    /// Whether nobody minds if it fails.
    var isHint: Bool { if case .dropCache = self { true } else { false } }
}
