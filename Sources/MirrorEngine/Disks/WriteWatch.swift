internal import BlockStorage
internal import SystemPackage

/// The files that a job reads, as they were before it.
///
/// What is read from a file that something else writes meanwhile belongs to no one moment. The job
/// looks again before it says anything about the content.
struct WriteWatch: Sendable {
    private let files: [(device: StorageDevice, before: WriteWitness)]

    /// Looks at files that have not been read yet.
    init(_ devices: [StorageDevice]) {
        files = devices.map { ($0, $0.openingWitness ?? $0.settledWitness()) }
    }

    /// The first file that was written since, and how that shows; nil if none shows it.
    ///
    /// Names, owners and times may change: the content is what counts.
    func firstWritten() -> (path: FilePath, how: String)? {
        for (path, found) in looks() { if case .written(let how) = found { return (path, how) } }
        return nil
    }

    /// The first file that was written since, or may have been, and how that shows.
    func firstDoubtful() -> (path: FilePath, how: String)? {
        for (path, found) in looks() {
            switch found {
            case .written(let how), .unknown(let how): return (path, how)
            case .unchanged, .timesOnly: continue
            }
        }
        return nil
    }

    /// What the files show that may hide a write, and where they have gone.
    ///
    /// - Throws: `.writtenMeanwhile` if one shows that it was written.
    func doubts() throws(MirrorError) -> [MirrorEvidence] {
        var doubts: [MirrorEvidence] = []
        for (path, found) in looks() {
            if case .written(let how) = found { throw .writtenMeanwhile(path: path, how: how) }
            if found != .unchanged {
                doubts.append(MirrorEvidence(ofSource: found.naming(path.string)))
            }
        }
        let moved = files.map(\.device).filter { !$0.isInPlace }
        return doubts + moved.map { .sourceMoved($0.path.string) }
    }

    private func looks() -> [(path: FilePath, found: WriteEvidence)] {
        files.map { ($0.device.path, $0.device.witness().evidence(since: $0.before)) }
    }

    /// The same of these files as well.
    func adding(_ other: WriteWatch) -> WriteWatch { WriteWatch(files: files + other.files) }

    private init(files: [(device: StorageDevice, before: WriteWitness)]) { self.files = files }
}

extension StorageDevice {
    /// Refuses a file whose path leads to another one by now, or to none.
    ///
    /// The file is open, so that it can be written and flushed long after its name is gone.
    func requireInPlace() throws(MirrorError) {
        guard !isInPlace else { return }
        throw .movedMeanwhile(path: path)
    }
}
