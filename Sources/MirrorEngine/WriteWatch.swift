internal import BlockStorage
internal import SystemPackage

/// The files that a job reads, as they were before it.
///
/// What is read from a file that something else writes meanwhile belongs to no one moment. The job
/// looks again before it says anything about the content.
struct WriteWatch: Sendable {
    private typealias File = (device: StorageDevice, before: WriteWitness)

    private let files: [File]

    /// Looks at files that have not been read yet.
    init(_ devices: [StorageDevice]) {
        var files = Self.look(devices)
        // The times of files come from a clock that ticks every few milliseconds. A write in the
        // tick of the one before it leaves the same time, so that tick has to be over.
        let age = Clock.wallTime - (files.compactMap(\.before.modified).max() ?? 0)
        if age >= 0, age < Self.tick {
            Clock.sleep(nanoseconds: Self.tick)
            files = Self.look(devices)
        }
        self.files = files
    }

    /// The first file that was written since, and how that shows; nil if none shows it.
    ///
    /// Names, owners and times may change: the content is what counts.
    func firstWritten() -> (path: FilePath, how: String)? {
        for (device, before) in files {
            if case .written(let how) = device.witness().evidence(since: before) {
                return (device.path, how)
            }
        }
        return nil
    }

    /// The same as an error.
    func requireUnwritten() throws(MirrorError) {
        guard let (path, how) = firstWritten() else { return }
        throw .writtenMeanwhile(path: path, how: how)
    }

    private static func look(_ devices: [StorageDevice]) -> [File] {
        devices.map { ($0, $0.witness()) }
    }

    /// In nanoseconds: longer than the longest tick, that of 100 Hz.
    private static let tick: Int64 = 12_000_000
}

extension StorageDevice {
    /// Refuses a file whose path leads to another one by now, or to none.
    ///
    /// The file is open, so that it can be written and flushed long after its name is gone.
    func requireInPlace() throws(MirrorError) {
        guard !isSame(as: path) else { return }
        throw .movedMeanwhile(path: path)
    }
}
