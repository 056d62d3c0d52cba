public import BlockStorage
public import SystemPackage

// Whether a disk was written, as far as its files and devices show it.

extension Disk {
    /// A look at each of its files, in their order.
    package func witness() -> [WriteWitness] { devices.map { $0.witness() } }

    /// A look at each of its files as they are now, of which a write that follows shows. It takes
    /// a few milliseconds if one of them was just written.
    public func freshWitness() -> [WriteWitness] { devices.map { $0.settledWitness() } }

    /// What became of its files since `earlier`, another look at all of them.
    ///
    /// The first that was certainly written counts, then the first of which that can't be told.
    package func evidence(since earlier: [WriteWitness]) -> WriteEvidence {
        Self.evidence(of: devices.map(\.path.string), witness(), since: earlier)
    }

    static func evidence(
        of names: [String], _ now: [WriteWitness], since earlier: [WriteWitness]
    ) -> WriteEvidence {
        guard earlier.count == now.count else {
            return earlier.isEmpty
                ? .unknown("no earlier look at it is recorded")
                : .written("it consisted of \(earlier.count) files, and has \(now.count)")
        }
        var found = WriteEvidence.unchanged
        for (name, (now, earlier)) in zip(names, zip(now, earlier)) {
            let evidence = now.evidence(since: earlier)
            switch (evidence, found) {
            case (.written(let how), _):
                return .written(names.count == 1 ? how : "\(name): \(how)")
            case (.unknown, .unchanged), (.unknown, .timesOnly), (.timesOnly, .unchanged):
                found = evidence
            default: break
            }
        }
        return found
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
