internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// What reading commands say of the targets of bitmaps, with the jobs that died worked in.

extension View {
    /// The job that died on a bitmap and has not been worked into it; a bitmap has one at a time.
    func deadJob(onBitmap id: UInt64) throws(BitmapStoreError) -> JobEntry? {
        for job in catalog.jobs where job.bitmap == id && job.isOpen {
            if try !isRunning(job) { return job }
        }
        return nil
    }

    /// What the marks of a bitmap will be.
    func recovered(_ id: UInt64, _ bits: BitTree) throws(BitmapStoreError) -> BitFormula {
        guard let job = try deadJob(onBitmap: id) else { return BitFormula(bits) }
        return Settlement(job, .failure, in: bits)?.after ?? BitFormula(bits)
    }

    /// The marks of a bitmap and what a target lacks beyond them.
    ///
    /// - Parameter identity: need not be known: it lacks what is marked.
    func demand(
        of identity: DeviceIdentity, _ id: UInt64, _ bits: BitTree
    ) throws(BitmapStoreError) -> BitFormula {
        var formula = try recovered(id, bits)
        if let job = try deadJob(onBitmap: id),
            let settlement = Settlement(job, .failure, in: bits)
        {
            if identity.difference(from: job.target) == nil {
                formula.merge(settlement.remaining)
                return formula
            }
            formula.merge(settlement.before)
        }
        for place in catalog.targets(matching: identity, ofBitmap: id) {
            formula.merge(catalog.targets[place].lacked)
        }
        return formula
    }

    /// - Parameter isConsistent: if not, every target may lack everything.
    func targets(
        ofBitmap id: UInt64, _ bits: BitTree, isConsistent: Bool = true
    ) throws(BitmapStoreError) -> [StoredTarget] {
        var entries = catalog.targets.filter { $0.bitmap == id }
        if let job = try deadJob(onBitmap: id), Settlement(job, .failure, in: bits) != nil {
            let places = entries.indices.filter {
                job.target.difference(from: entries[$0].identity) == nil
            }
            for place in places {
                entries[place].doubts = job.doubts(onTopOf: entries[place].doubts)
            }
            // A target that the dead job has made known.
            if places.isEmpty {
                entries.append(
                    TargetEntry(
                        bitmap: id, identity: job.target, path: job.targetPath, lacked: bits,
                        success: nil, witness: [], doubts: job.doubts))
            }
        }
        var result: [StoredTarget] = []
        for entry in entries { result.append(try describe(entry, bits, isConsistent)) }
        return result
    }

    /// The targets of a bitmap in an image.
    ///
    /// - Parameter marks: what it has marked now; nil: not looked at.
    func imageTargets(
        of bitmap: BitmapReference, _ marks: SharedBits?
    ) throws(BitmapStoreError) -> [StoredTarget] {
        guard let index = catalog.index(of: bitmap) else { return [] }
        let found = try targets(ofBitmap: catalog.id(index), catalog[index])
        guard let marks else { return found }
        guard try reader.containsAll(of: catalog[index], marks) else {
            throw .bitmapRemade(name: bitmap.name)
        }
        // What was marked since it was last looked at, they all lack.
        var result: [StoredTarget] = []
        for target in found {
            let demand = try demand(of: target.identity, catalog.id(index), catalog[index])
            var bits = try load(demand)
            try BitOperation.Kind.merge.apply(marks.bits, to: &bits)
            result.append(target.withLackedBytes(bits.dirtyBytes))
        }
        return result
    }

    private func describe(
        _ entry: TargetEntry, _ bits: BitTree, _ isConsistent: Bool
    ) throws(BitmapStoreError) -> StoredTarget {
        var entry = entry
        if let job = writer(of: entry) { entry.witness = job.unfinishedWitness }
        let lackedBytes =
            isConsistent
            ? try reader.dirtyBytes(of: try demand(of: entry.identity, entry.bitmap, bits))
            : bits.layout.geometry.size
        return StoredTarget(
            identity: entry.identity, path: FilePath(entry.path), lastSuccess: entry.lastSuccess,
            lackedBytes: lackedBytes, witness: entry.witness, doubts: entry.doubts)
    }

    /// The job that runs, or has died, and has written to a target since it was looked at.
    private func writer(of entry: TargetEntry) -> JobEntry? {
        catalog.jobs.first {
            $0.isOpen && $0.targetWitness == entry.witness
                && $0.target.difference(from: entry.identity) == nil
        }
    }
}

extension StoredTarget {
    fileprivate func withLackedBytes(_ bytes: Int64) -> StoredTarget {
        StoredTarget(
            identity: identity, path: path, lastSuccess: lastSuccess, lackedBytes: bytes,
            witness: witness, doubts: doubts)
    }
}
