import Synchronization

/// The end of a process in the middle of a job, without a process: what its files hold at that
/// moment is what they hold when the job, which goes on and ends, has been undone.
final class Death: Sendable {
    private let files: UncheckedBox<Files>
    /// What is written first is read last: the bitmaps in a source are cleared after its store has
    /// said so, and the store says what the target has after it has it.
    private let names: [String]
    private let moment = Mutex<Files.Snapshot?>(nil)

    init(_ files: Files, from source: String, to target: String) {
        self.files = UncheckedBox(files)
        names = [source, source + ".bitmaps", target + ".bitmaps", target]
    }

    func strike() { moment.withLock { $0 = files.value.snapshot(names) } }

    /// Puts the files back.
    ///
    /// - Returns: whether it has struck.
    func undo() -> Bool {
        guard let snapshot = moment.withLock({ $0 }) else { return false }
        files.value.restore(snapshot)
        return true
    }
}
