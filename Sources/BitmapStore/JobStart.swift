internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// The transaction in which a job begins.
struct JobStart {
    let store: BitmapStore
    let request: JobRequest
    let working: SharedBits?
    /// Of a bitmap in an image, as it is now.
    let marks: SharedBits?

    struct Begun {
        let record: StoredJob
        let forgottenTargets: [StoredTarget]
        /// What `working` became; nil if there was none.
        let stored: BitTree?
    }

    func run(
        _ transaction: inout Transaction
    ) throws(BitmapStoreError) -> (Begun, any JobClaim) {
        let forgotten = try prepareBitmap(&transaction)
        try transaction.dropRecords(ofTarget: request.target)
        try transaction.requireRoomForRecord()
        try transaction.requireRoomForTarget()
        transaction.forgetTarget(request)
        // Indices of bitmaps have stayed: only jobs and targets were dropped.
        let index = request.bitmap.flatMap { transaction.catalog.index(of: $0) }
        let id = index.map { transaction.catalog.id($0) }
        let known = id.map {
            transaction.catalog.targets(
                matching: request.heldContent ?? request.target, ofBitmap: $0)
        }
        let stored = try storeWorking(&transaction)
        let bits: BitTree
        if let stored {
            bits = stored
        } else if let index, let known, request.mode == .incremental {
            bits = try demand(index, known, &transaction)
        } else {
            bits = .dirty(try transaction.layout(.default))
        }
        if let index { transaction.judge(index, request) }
        transaction.refreshWitness(of: request.target, request.targetWitness)
        let number = transaction.catalog.takeID()
        guard let claim = try store.file.claim(job: number) else {
            throw .jobRunning(id: number, holder: store.holder)
        }
        let entry = JobEntry(
            id: number, mode: request.mode, bitmap: id, bitmapMode: request.bitmapMode,
            source: request.source, sourcePath: request.sourcePath.string,
            sourceWitness: request.sourceWitness, target: request.target,
            targetPath: request.targetPath.string, targetWitness: request.targetWitness,
            writtenFiles: request.writtenFiles, startedAt: transaction.now,
            planned: bits.dirtyBytes, isOpen: true,
            holder: store.holder, taken: index == nil ? nil : bits, remaining: bits,
            marked: index.map { .clean(transaction.catalog[$0].layout) },
            isUnrecorded: index.map { !transaction.isRecording($0, request) } ?? false,
            doubts: doubts(known ?? [], transaction))
        transaction.catalog.jobs.append(entry)
        let begun = Begun(
            record: StoredJob(entry, in: transaction.catalog, isRunning: true),
            forgottenTargets: forgotten, stored: stored)
        return (begun, claim)
    }

    /// What is in doubt of the target: also what was of the disk that it stands on.
    private func doubts(_ known: [Int], _ transaction: Transaction) -> [TargetDoubt] {
        let own = request.doubts(at: transaction.now, isKnown: !known.isEmpty)
        guard request.mode == .incremental, let held = request.heldContent,
            request.target.difference(from: held) != nil
        else { return own }
        return known.reduce([]) { $0.adding(transaction.catalog.targets[$1].doubts) }.adding(own)
    }

    /// Finds the bitmap, and works in what was left on it.
    ///
    /// - Returns: the targets that a bitmap in an image knows no longer.
    private func prepareBitmap(
        _ transaction: inout Transaction
    ) throws(BitmapStoreError) -> [StoredTarget] {
        switch request.bitmap {
        case nil: return []
        case .stored(let name):
            let index = try transaction.index(of: name)
            try transaction.requireNoJob(index)
            try transaction.recover(bitmapAt: index)
            if request.mode == .full { transaction.beginAnew(bitmapAt: index) }
            try transaction.requireConsistent(index)
            return []
        case .image(let name):
            guard let marks else { preconditionFailure("the marks of the image's bitmap") }
            try transaction.requireSize(marks.bits.size)
            return try transaction.adopt(imageBitmap: name, marks)
        }
    }

    private func storeWorking(
        _ transaction: inout Transaction
    ) throws(BitmapStoreError) -> BitTree? {
        guard let working else { return nil }
        try transaction.requireSize(working.bits.size)
        return try transaction.store(working.bits)
    }

    /// The marks, and all that the target lacks besides.
    private func demand(
        _ index: BitmapIndex, _ known: [Int], _ transaction: inout Transaction
    ) throws(BitmapStoreError) -> BitTree {
        let others = transaction.catalog.targets.filter {
            $0.bitmap == transaction.catalog.id(index)
        }
        if known.isEmpty, !others.isEmpty, !request.allowsUnknownTarget {
            throw .unknownTarget(
                name: transaction.catalog.reference(index).name, target: request.targetPath,
                known: others.map(\.path))
        }
        var formula = BitFormula(transaction.catalog[index])
        for place in known { formula.merge(transaction.catalog.targets[place].lacked) }
        return formula.operations.isEmpty ? formula.first : try transaction.evaluate(formula)
    }
}

extension Transaction {
    /// A job that copies everything makes a bitmap right again of which nobody knows what it
    /// should have: until it has, that is everything, and for all other targets it stays so.
    fileprivate mutating func beginAnew(bitmapAt index: Int) {
        guard catalog.bitmaps[index].state == .inconsistent else { return }
        catalog.bitmaps[index].state = .recording
        catalog.bitmaps[index].bits = .dirty(catalog.bitmaps[index].bits.layout)
        catalog.bitmaps[index].history.additions += 1
        noteMissedWrite(.stored(index))
    }

    /// What is known of the source's writes, which a job has found marked or not.
    ///
    /// A full job copies whatever was missed, also where it is resumed, unless it fails. One that
    /// compares all of its target afterwards finds it, and until then nothing is settled.
    fileprivate mutating func judge(_ index: BitmapIndex, _ request: JobRequest) {
        if let doubt = request.sourceDoubt { noteSourceDoubt(doubt, index) }
        // Something else has enabled a bitmap of an image again, and that was judged as well.
        if case .image = index, request.isImageBitmapRecording {
            catalog[historyOf: index].paused = nil
        }
        guard request.hasMissedWrite else {
            return catalog[historyOf: index].judged(request.sourceWitness)
        }
        switch request.mode {
        case .incremental:
            noteMissedWrite(index, exceptFor: request.target)
            // If it does not come to comparing everything.
            noteSourceDoubt(.missed, index)
        case .full, .top:
            noteMissedWrite(index)
            catalog[historyOf: index].judged(request.sourceWitness)
        }
    }

    fileprivate func isRecording(_ index: BitmapIndex, _ request: JobRequest?) -> Bool {
        switch index {
        case .stored(let place): catalog.bitmaps[place].state == .recording
        case .image: request?.isImageBitmapRecording ?? true
        }
    }

    /// A job that was interrupted goes on as this one.
    ///
    /// - Parameter request: nil: nothing is known of either side's files.
    mutating func take(_ request: JobRequest?, forJobAt place: Int) {
        let target = catalog.jobs[place].target
        refreshWitness(of: target, request?.targetWitness ?? [])
        catalog.jobs[place].sourceWitness = request?.sourceWitness ?? []
        catalog.jobs[place].targetWitness = request?.targetWitness ?? []
        catalog.jobs[place].writtenFiles = request?.writtenFiles
        if request?.bitmapMode == .never { catalog.jobs[place].bitmapMode = .never }
        if request?.copiesAll == true {
            catalog.jobs[place].remaining = .dirty(catalog.jobs[place].remaining.layout)
        }
        for kind in request?.doubts ?? [] { catalog.jobs[place].doubts.add(kind, at: now) }
        guard let id = catalog.jobs[place].bitmap, let index = catalog.index(ofBitmapNumbered: id)
        else { return }
        catalog.jobs[place].isUnrecorded = !isRecording(index, request)
        if let request { judge(index, request) }
    }
}
