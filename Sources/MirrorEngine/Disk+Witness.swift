package import BlockStorage
internal import SystemPackage

// Whether a disk was written, as far as its files and devices show it.

extension Disk {
    /// A look at each of its files, in their order.
    package func witness() -> [WriteWitness] { devices.map { $0.witness() } }

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
                ? .unknown("nobody has looked at it before")
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

    /// A look at each of its files, of which a write that follows shows.
    package func settledWitness() -> [WriteWitness] { devices.settledWitnesses() }
}

extension [StorageDevice] {
    /// A look at each, of which a write that follows shows.
    ///
    /// The kernel's clock for the times of files ticks every few milliseconds. A write in the tick
    /// of the one before it leaves the same time, so files that were written just now are looked at
    /// again when that tick is over.
    func settledWitnesses() -> [WriteWitness] {
        let first = map { $0.witness() }
        let age = Clock.wallTime - (first.compactMap(\.modified).max() ?? 0)
        guard age >= 0, age < Self.tick else { return first }
        Clock.sleep(nanoseconds: Self.tick)
        return map { $0.witness() }
    }

    /// In nanoseconds: longer than the longest tick, that of 100 Hz.
    private static var tick: Int64 { 12_000_000 }
}
