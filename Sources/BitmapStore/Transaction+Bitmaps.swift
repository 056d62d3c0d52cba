internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// What the commands have in common: finding a bitmap, refusing what its state forbids, and working
// in what a dead process left.

extension Transaction {
    /// What reading would find, were this committed.
    var view: View {
        View(
            file: file, catalog: catalog, reader: reader, generation: base.superblock.generation)
    }

    func index(of name: String) throws(BitmapStoreError) -> Int {
        guard let index = catalog.index(ofBitmap: name) else {
            throw .noSuchBitmap(
                name: name, existing: catalog.bitmaps.map(\.name), path: file.path)
        }
        return index
    }

    /// A bitmap that may be changed at will.
    mutating func idleIndex(of name: String) throws(BitmapStoreError) -> Int {
        let index = try index(of: name)
        try requireIdle(index)
        try recover(bitmapAt: index)
        try requireConsistent(index)
        return index
    }

    /// Refuses one more job or recorder, if there is no room for it.
    func requireRoomForRecord() throws(BitmapStoreError) {
        guard catalog.jobs.count + catalog.recorders.count < Catalog.jobsMax else {
            throw .tooManyBitmaps(path: file.path, limit: Catalog.jobsMax)
        }
    }

    /// Refuses one more job that runs, if there is no room for its target: each of them may end
    /// with one more.
    func requireRoomForTarget() throws(BitmapStoreError) {
        guard catalog.targets.count + catalog.jobs.count(where: \.isOpen) < Catalog.targetsMax
        else { throw .tooManyBitmaps(path: file.path, limit: Catalog.targetsMax) }
    }

    /// A bitmap on which an interrupted job may go on.
    mutating func requireResumable(_ index: BitmapIndex) throws(BitmapStoreError) {
        try requireNoJob(index)
        switch index {
        case .stored(let place):
            try recover(bitmapAt: place)
            try requireConsistent(place)
        case .image: try recoverJobs(of: index)
        }
    }

    /// A target that was to be forgotten, and the records of jobs on the bitmap that wrote to it.
    mutating func forget(
        _ identity: DeviceIdentity, ofBitmap id: UInt64
    ) throws(BitmapStoreError) {
        for job in catalog.jobs
        where job.bitmap == id && identity.difference(from: job.target) == nil {
            if try isRunning(job) {
                throw .targetBusy(target: .init(job.targetPath), holder: job.holder)
            }
            discard(job)
        }
        catalog.targets.removeAll {
            $0.bitmap == id && identity.difference(from: $0.identity) == nil
        }
        noteLoss(ofBitmap: id)
    }

    /// What a target lacks is not kept any more, or marks were taken away: the bitmap alone tells
    /// of no target what it lacks.
    ///
    /// - Parameter id: nil: this goes for every bitmap.
    mutating func noteLoss(ofBitmap id: UInt64?) {
        for index in catalog.bitmapIndices where id == nil || catalog.id(index) == id {
            catalog[historyOf: index].isWhole = false
        }
    }

    func layout(_ granularity: Granularity) throws(BitmapStoreError) -> BitLayout {
        do throws(DirtyBitmapError) {
            return BitLayout(
                try BitmapGeometry(size: catalog.device.size, granularity: granularity))
        } catch {
            throw .bits(error)
        }
    }

    func requireSize(_ size: Int64) throws(BitmapStoreError) {
        guard size == catalog.device.size else {
            throw .sizesDiffer(size: catalog.device.size, other: size)
        }
    }

    func requireConsistent(_ index: Int) throws(BitmapStoreError) {
        let bitmap = catalog.bitmaps[index]
        if bitmap.state == .inconsistent {
            throw .inconsistent(name: bitmap.name, path: file.path)
        }
    }

    /// Refuses a bitmap that a living job or recorder works on.
    func requireIdle(_ index: Int) throws(BitmapStoreError) {
        try requireNoJob(index)
        let bitmap = catalog.bitmaps[index]
        // What is marked in the kernel comes to the bitmap whatever is done with that.
        for recorder in catalog.recorders
        where recorder.bitmap == bitmap.id && recorder.tracker == nil {
            if try file.isClaimed(job: recorder.id) {
                throw .busy(name: bitmap.name, holder: recorder.holder)
            }
        }
    }

    func requireNoJob(_ index: Int) throws(BitmapStoreError) {
        try requireNoJob(.stored(index))
    }

    func requireNoJob(_ index: BitmapIndex) throws(BitmapStoreError) {
        let id = catalog.id(index)
        for job in catalog.jobs where job.bitmap == id {
            if try isRunning(job) {
                throw .busy(name: catalog.reference(index).name, holder: job.holder)
            }
        }
    }

    func isRunning(_ job: JobEntry) throws(BitmapStoreError) -> Bool {
        guard job.isOpen else { return false }
        return try file.isClaimed(job: job.id)
    }

    /// Works in what dead recorders and dead jobs left.
    mutating func recover(bitmapAt index: Int) throws(BitmapStoreError) {
        try recoverRecorders(ofBitmapAt: index)
        try recoverJobs(of: .stored(index))
    }

    /// Works in what dead jobs left.
    mutating func recoverJobs(of index: BitmapIndex) throws(BitmapStoreError) {
        let id = catalog.id(index)
        for place in catalog.jobs.indices where catalog.jobs[place].bitmap == id {
            let job = catalog.jobs[place]
            if job.isOpen, try !isRunning(job) { try endInFailure(jobAt: place) }
        }
    }

    /// Nobody knows what a recorder that died had in memory.
    mutating func recoverRecorders(ofBitmapAt index: Int) throws(BitmapStoreError) {
        let id = catalog.bitmaps[index].id
        for recorder in catalog.recorders where recorder.bitmap == id {
            if try file.isAlive(recorder) { continue }
            catalog.bitmaps[index].state = .inconsistent
            catalog.recorders.removeAll { $0.id == recorder.id }
        }
    }

    /// Forgets every record of a bitmap on which none runs.
    mutating func dropRecords(of index: BitmapIndex) -> [StoredJob] {
        let id = catalog.id(index)
        let dropped = records(of: index)
        if !dropped.isEmpty { noteLoss(ofBitmap: id) }
        for job in catalog.jobs where job.bitmap == id { discard(job) }
        catalog.recorders.removeAll { $0.bitmap == id && $0.tracker == nil }
        return dropped
    }

    /// Every record of a bitmap on which none runs.
    func records(of index: BitmapIndex) -> [StoredJob] {
        let id = catalog.id(index)
        return catalog.jobs.filter { $0.bitmap == id }
            .map { StoredJob($0, in: catalog, isRunning: false) }
    }

    /// The bitmap takes no marks from now on, or takes them again: what was written in between it
    /// has not heard of.
    mutating func noteRecording(
        _ index: BitmapIndex, _ isRecording: Bool, _ sourceWitness: [WriteWitness]
    ) {
        guard isRecording else {
            catalog[historyOf: index].paused = sourceWitness.isEmpty ? nil : sourceWitness
            return noteUnrecorded(index)
        }
        switch sourceWitness.evidence(since: catalog[historyOf: index].paused ?? []) {
        case .unchanged: break
        case .written:
            noteMissedWrite(index)
            catalog[historyOf: index].judged(sourceWitness)
        case .timesOnly: noteSourceDoubt(.sourceTouched, index)
        case .unknown: noteSourceDoubt(.sourceUnseen, index)
        }
        catalog[historyOf: index].paused = nil
        // What it has heard of begins here.
        if case .stored(let index) = index { noteMarks(index, sourceWitness) }
    }

    /// Jobs on the bitmap can't know any more what was written since they began.
    mutating func noteUnrecorded(_ index: BitmapIndex) {
        let id = catalog.id(index)
        for place in catalog.jobs.indices where catalog.jobs[place].bitmap == id {
            catalog.jobs[place].isUnrecorded = true
        }
    }

    /// Marks were added, or will be from now on, while the source was as this look shows. If it was
    /// brought back to an older state (a rollback), what that took back is marked nowhere.
    mutating func noteMarks(_ index: Int, _ sourceWitness: [WriteWitness]) {
        if catalog.bitmaps[index].history.isOlder(sourceWitness) {
            noteMissedWrite(.stored(index))
            catalog.bitmaps[index].history.markedState = nil
        }
        catalog.bitmaps[index].history.marked(sourceWitness)
    }

    /// B |= ranges, and M |= ranges in every record.
    mutating func mark(
        _ ranges: [Range<Int64>], bitmapAt index: Int
    ) throws(BitmapStoreError) {
        guard ranges.contains(where: { !$0.isEmpty }) else { return }
        try add(toBitmapAt: index) { transaction, tree throws(BitmapStoreError) in
            try transaction.mark(ranges, in: tree)
        }
    }

    /// B |= bits, and M |= bits in every record.
    mutating func merge(
        _ bits: borrowing DirtyBitmap, bitmapAt index: Int
    ) throws(BitmapStoreError) {
        guard !bits.isClean else { return }
        try add(toBitmapAt: index) { transaction, tree throws(BitmapStoreError) in
            try transaction.merge(bits, into: tree)
        }
    }

    /// The same with bits that are stored.
    mutating func merge(_ other: BitTree, bitmapAt index: Int) throws(BitmapStoreError) {
        guard other.dirtyBytes > 0 else { return }
        try add(toBitmapAt: index) { transaction, tree throws(BitmapStoreError) in
            try transaction.merge(other, into: tree)
        }
    }

    /// What is merged in differs from what a job has copied, as much as what is marked does.
    private mutating func add(
        toBitmapAt index: Int,
        _ body: (inout Transaction, BitTree) throws(BitmapStoreError) -> BitTree
    ) throws(BitmapStoreError) {
        let id = catalog.bitmaps[index].id
        catalog.bitmaps[index].bits = try body(&self, catalog.bitmaps[index].bits)
        catalog.bitmaps[index].history.additions += 1
        for place in catalog.jobs.indices where catalog.jobs[place].bitmap == id {
            guard let marked = catalog.jobs[place].marked else { continue }
            catalog.jobs[place].marked = try body(&self, marked)
        }
    }

    /// The tree with more bits set; the same one if it had them all.
    mutating func merge(
        _ other: BitTree, into tree: BitTree
    ) throws(BitmapStoreError) -> BitTree {
        var formula = BitFormula(tree)
        formula.merge(other)
        return try evaluate(formula)
    }
}
