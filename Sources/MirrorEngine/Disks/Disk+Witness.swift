public import BlockStorage
internal import QCOW2
public import SystemPackage

// Whether a disk was written, as far as its files and devices show it.

extension Disk {
    /// A look at each of its files, in their order.
    package func witness() -> [WriteWitness] { devices.map { $0.witness() } }

    /// The same; of one that can't be asked any more nobody knows how it is.
    func witnessIfReached() -> [WriteWitness] {
        devices.map { $0.witnessIfReached() ?? .unknown }
    }

    /// A look at each of its files before a job writes to it.
    func witnessBeforeWriting() -> [WriteWitness] {
        devices.map {
            // What is only read was read already.
            $0.access == .readOnly ? $0.openingWitness ?? $0.settledWitness() : $0.witness()
        }
    }

    /// A look at its files after a job, so that what something else writes there shows: those that
    /// the job only reads, below its own, count as they were when it began.
    ///
    /// - Parameters:
    ///   - before: from `witnessBeforeWriting`.
    ///   - now: a look at all of them.
    func witnessAfterWriting(_ before: [WriteWitness], _ now: [WriteWitness]) -> [WriteWitness] {
        precondition(
            before.count == devices.count && now.count == devices.count,
            "the same files are looked at")
        return devices.indices.map { devices[$0].access == .readOnly ? before[$0] : now[$0] }
    }

    /// A look at each of its files as they are now, of which a write that follows shows. It takes
    /// a few milliseconds if one of them was just written.
    public func freshWitness() -> [WriteWitness] { devices.map { $0.settledWitness() } }

    /// What became of its files since `earlier`, another look at all of them.
    ///
    /// The first that was certainly written counts, then the first of which that can't be told.
    package func evidence(since earlier: [WriteWitness]) -> WriteEvidence {
        devices.evidence(since: earlier)
    }

    /// Whether something has an image of it open, of whose tables the files show only what that has
    /// written back: what was marked need not be seen yet.
    package var holdsWritesBack: Bool {
        image?.layers.contains { $0.format != .raw && $0.device?.hidesWrites == true } ?? false
    }

    /// The first of its files whose path leads to another file by now, or to none: what was read or
    /// written is the one that it led to when it was opened.
    public var movedFile: FilePath? { devices.first { !$0.isInPlace }?.path }

    /// A look at each of its files, of which a write that follows shows.
    ///
    /// Of an image it is the one from its opening: tables that were read then are not read again.
    package func settledWitness() -> [WriteWitness] {
        devices.map { $0.openingWitness ?? $0.settledWitness() }
    }
}

extension Collection<StorageDevice> {
    /// What became of the files of one disk since `earlier`, another look at all of them.
    func evidence(since earlier: [WriteWitness]) -> WriteEvidence {
        map { $0.witness() }.evidence(since: earlier, names: map(\.path.string))
    }
}
