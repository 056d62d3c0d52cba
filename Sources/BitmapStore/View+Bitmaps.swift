internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// What reading commands say of bitmaps and jobs whose process is gone: they change nothing, and
// tell what the next writing command will make of it.

extension View {
    func noSuchBitmap(_ name: String) -> BitmapStoreError {
        .noSuchBitmap(name: name, existing: catalog.bitmaps.map(\.name), path: file.path)
    }

    func isRunning(_ job: JobEntry) throws(BitmapStoreError) -> Bool {
        guard job.isOpen else { return false }
        return try file.isClaimed(job: job.id)
    }

    func describe(_ entry: BitmapEntry) throws(BitmapStoreError) -> StoredBitmap {
        var state = entry.state
        var holder: JobHolder?
        var isInterrupted = false
        var tracker: StoredTracker?
        for job in catalog.jobs where job.bitmap == entry.id {
            if try isRunning(job) { holder = job.holder } else { isInterrupted = true }
        }
        for recorder in catalog.recorders where recorder.bitmap == entry.id {
            if try file.isAlive(recorder) {
                tracker = recorder.tracker ?? tracker
                if recorder.tracker == nil { holder = holder ?? recorder.holder }
            } else {
                state = .inconsistent
            }
        }
        let layout = entry.bits.layout
        return StoredBitmap(
            name: entry.name, size: layout.geometry.size,
            granularity: layout.geometry.granularity, state: state, holder: holder,
            tracker: tracker, isInterrupted: isInterrupted, dirtyCount: entry.bits.dirtyCount,
            dirtyBytes: entry.bits.dirtyBytes, createdAt: entry.createdAt,
            targets: try targets(
                ofBitmap: entry.id, entry.bits, isConsistent: state != .inconsistent))
    }

    func describe(_ entry: JobEntry) throws(BitmapStoreError) -> StoredJob {
        StoredJob(entry, in: catalog, isRunning: try isRunning(entry))
    }

    /// The bits, with the jobs that died worked into them.
    ///
    /// - Parameter target: adds what this one lacks beyond them.
    func recovered(
        _ entry: BitmapEntry, for target: DeviceIdentity? = nil
    ) throws(BitmapStoreError) -> DirtyBitmap {
        var isConsistent = entry.state != .inconsistent
        for recorder in catalog.recorders where recorder.bitmap == entry.id {
            if try !file.isAlive(recorder) { isConsistent = false }
        }
        guard isConsistent else {
            let geometry = entry.bits.layout.geometry
            var bits = DirtyBitmap(size: geometry.size, granularity: geometry.granularity)
            bits.setAll()
            return bits
        }
        guard let target else { return try load(try recovered(entry.id, entry.bits)) }
        return try load(try demand(of: target, entry.id, entry.bits))
    }

    /// A formula that may be no more than a bitmap.
    func load(_ formula: BitFormula) throws(BitmapStoreError) -> DirtyBitmap {
        formula.operations.isEmpty ? try reader.load(formula.first) : try reader.load(formula)
    }
}

extension StoredJob {
    init(_ entry: JobEntry, in catalog: Catalog, isRunning: Bool) {
        self.init(
            id: entry.id, mode: entry.mode,
            bitmap: catalog.reference(toBitmapNumbered: entry.bitmap),
            bitmapMode: entry.bitmapMode, source: entry.source, sourcePath: .init(entry.sourcePath),
            sourceWitness: entry.sourceWitness, isUnrecorded: entry.isUnrecorded,
            markedBytes: entry.marked?.dirtyBytes ?? 0, target: entry.target,
            targetPath: .init(entry.targetPath),
            targetWitness: entry.isOpen ? entry.unfinishedWitness : entry.targetWitness,
            doubts: entry.doubts,
            startedAt: entry.startedAt,
            checkpointedAt: entry.checkpointedAt,
            planned: max(entry.planned, entry.remaining.dirtyBytes),
            remainingBytes: entry.remaining.dirtyBytes, isRunning: isRunning,
            holder: entry.holder)
    }
}
