import BitmapStore
import BlockStorage
import DirtyBitmap
import Glibc
import MirrorEngine
import QCOW2
import SystemPackage

/// Histories by the library, in this process: quick, and with every ending at a place of its own.
final class LibraryRig: Rig {
    let files: Files
    let kind: SourceKind
    /// The raw source, as it was when its bitmaps were added: opening it takes its time.
    private var identity: DeviceIdentity?

    init(files: Files, kind: SourceKind) {
        self.files = files
        self.kind = kind
    }

    private var name: String { kind == .raw ? "s.img" : "s.qcow2" }
    private var path: FilePath { FilePath(files.path(name)) }

    static func bitmap(_ number: Int) -> String { "b\(number)" }

    // MARK: The source

    func make(_ bytes: [UInt8]) throws {
        if kind == .raw {
            files.make(name, bytes)
        } else {
            files.make("new.img", bytes)
            defer { files.remove("new.img") }
            let source = try Disk.openSource(FilePath(files.path("new.img")), format: .raw)
            var image = NewImageOptions(size: Int64(bytes.count))
            image.clusterSize = 4096
            let target = try Disk.openTarget(
                path, for: source, format: .qcow2, newImage: image,
                options: TargetOptions(create: true))
            let report = try MirrorJob.full(from: source, to: target).runAndWait()
            guard case .mirrored = report.outcome else { throw Unexpected("\(report.outcome)") }
        }
        try addBitmaps()
    }

    private func addBitmaps() throws {
        if kind == .raw { identity = try Disk.openSource(path, format: .raw).identity }
        for number in 0..<2 { try add(number) }
    }

    private func add(_ number: Int) throws {
        let granularity = try Granularity(bytes: Int64(Setting.granularities[number]))
        if kind == .qcow2 {
            return try withImageBitmaps { (bitmaps) throws(StorageError) in
                try bitmaps.add(Self.bitmap(number), granularity: granularity)
            }
        }
        guard let identity else { throw Unexpected("the source was not made") }
        try BitmapStore.openOrCreate(StorePlace.path(image: path), for: identity)
            .add(Self.bitmap(number), granularity: granularity)
    }

    private func withImageBitmaps(
        _ body: (ImageBitmaps) throws(StorageError) -> Void
    ) throws {
        let disk = try Disk.openSource(path, format: .qcow2, changesBitmaps: true)
        guard let bitmaps = disk.bitmaps else { throw Unexpected("no bitmaps in the image") }
        try body(bitmaps)
    }

    private func withStore(_ body: (BitmapStore) throws(BitmapStoreError) -> Void) throws {
        guard let identity else { throw Unexpected("the source was not made") }
        try body(
            try BitmapStore.open(
                StorePlace.path(image: path), for: identity, access: .readWrite))
    }

    func source() -> [UInt8] {
        let bytes = files.read(name) ?? []
        return kind == .raw ? bytes : ImageReader(bytes)?.disk() ?? []
    }

    func write(
        _ bytes: [UInt8], at offset: Int, marking: Set<Int>, _ trace: Trace
    ) throws -> (written: [Range<Int>], heard: Set<Int>) {
        let range = offset..<offset + bytes.count
        guard kind == .raw else {
            guard marking.isEmpty else {
                try writeThroughFormat(bytes, at: offset)
                return ([range], marking)
            }
            return (writeBehindFormat(bytes, at: offset, trace), [])
        }
        files.write(name, bytes, at: offset, trace)
        var heard: Set<Int> = []
        for bitmap in marking {
            do {
                try withStore { (store) throws(BitmapStoreError) in
                    try store.mark(
                        Self.bitmap(bitmap), [Int64(range.lowerBound)..<Int64(range.upperBound)])
                }
                heard.insert(bitmap)
            } catch {}
        }
        return ([range], heard)
    }

    /// As a virtual machine writes: every enabled bitmap hears of it.
    private func writeThroughFormat(_ bytes: [UInt8], at offset: Int) throws {
        var disk = source()
        disk.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        files.make("new.img", disk)
        defer { files.remove("new.img") }
        let from = try Disk.openSource(FilePath(files.path("new.img")), format: .raw)
        let target = try Disk.openTarget(
            path, for: from, format: .qcow2, options: TargetOptions(overwrite: true))
        var dirty = DirtyBitmap(size: Int64(disk.count), granularity: .min)
        dirty.set(Int64(offset)..<Int64(offset + bytes.count))
        let report = try MirrorJob.incremental(from: from, to: target, dirty: dirty).runAndWait()
        guard case .mirrored = report.outcome else { throw Unexpected("\(report.outcome)") }
    }

    // MARK: Bitmaps

    func setRecording(_ bitmap: Int, _ isOn: Bool) throws {
        let name = Self.bitmap(bitmap)
        if kind == .qcow2 {
            // As another program does it, which knows of no store.
            return try withImageBitmaps { (bitmaps) throws(StorageError) in
                try bitmaps.setRecording(name, isOn)
            }
        }
        let witness = try Disk.openSource(path, format: .raw).freshWitness()
        try withStore { (store) throws(BitmapStoreError) in
            try store.setRecording(name, isOn, sourceWitness: witness)
        }
    }

    func clear(_ bitmap: Int) throws -> Bool {
        if kind == .qcow2 {
            // As another program does it, which knows of no targets.
            try withImageBitmaps { (bitmaps) throws(StorageError) in
                try bitmaps.clear(Self.bitmap(bitmap))
            }
            return false
        }
        try withStore { (store) throws(BitmapStoreError) in try store.clear(Self.bitmap(bitmap)) }
        return true
    }

    func readd(_ bitmap: Int) throws {
        if kind == .qcow2 {
            try withImageBitmaps { (bitmaps) throws(StorageError) in
                _ = try bitmaps.remove(Self.bitmap(bitmap))
            }
        } else {
            try withStore { (store) throws(BitmapStoreError) in
                try store.remove(Self.bitmap(bitmap))
            }
        }
        try add(bitmap)
    }

    func startAnew() throws {
        files.remove(name + ".bitmaps")
        if kind == .qcow2 {
            try withImageBitmaps { (bitmaps) throws(StorageError) in
                _ = try bitmaps.removeAll()
            }
        }
        try addBitmaps()
    }

    // MARK: Jobs

    func restore(from target: Int, _ surroundings: Surroundings) throws -> Ending {
        run(
            in: surroundings, from: Self.target(target), to: name, meanwhile: {},
            begin: { wire in
                let from = try Disk.openSource(
                    FilePath(files.path(Self.target(target))), format: .raw)
                let to = try Disk.openTarget(
                    path, for: from, format: kind == .raw ? .raw : .qcow2,
                    options: TargetOptions(overwrite: true)
                ).watched(by: wire)
                var request = RecordedMirror.Request(.full)
                request.options.rings = 1
                return try .full(
                    from: from, to: to, request: request,
                    records: .path(StorePlace.path(for: from)))
            })
    }

    func run(_ job: Job, meanwhile: @escaping @Sendable () -> Void) throws -> Ending {
        run(
            in: job.surroundings, from: name, to: Self.target(job.target), meanwhile: meanwhile,
            begin: { wire in try begin(job, wire) })
    }

    private func run(
        in surroundings: Surroundings, from source: String, to target: String,
        meanwhile: @escaping @Sendable () -> Void, begin: (Tripwire) throws -> RecordedMirror
    ) -> Ending {
        let wire = Tripwire(after: surroundings.places)
        let death = Death(files, from: source, to: target)
        // Nothing that the job has open is left when its files are put back.
        let ending = run(in: surroundings, wire, death, meanwhile, begin)
        return death.undo() ? .killed : ending
    }

    private func run(
        in surroundings: Surroundings, _ wire: Tripwire, _ death: Death,
        _ meanwhile: @escaping @Sendable () -> Void, _ begin: (Tripwire) throws -> RecordedMirror
    ) -> Ending {
        let mirror: RecordedMirror
        do {
            mirror = try begin(wire)
        } catch {
            return Self.ending(error)
        }
        switch surroundings {
        case .quiet: break
        case .interrupted: wire.onTouch { [weak mirror] in mirror?.cancel() }
        case .killed:
            wire.onTouch { [weak mirror] in
                death.strike()
                mirror?.cancel()
            }
        case .failing:
            wire.onTouch { () throws(StorageError) in
                throw .systemCall(call: "pwrite", path: "the target", code: .ioError)
            }
        case .sourceWritten: wire.onTouch(meanwhile)
        }
        return Self.ending(mirror.runAndWait())
    }

    private func begin(_ job: Job, _ wire: Tripwire) throws -> RecordedMirror {
        let source = try Disk.openSource(
            path, format: kind == .raw ? .raw : .qcow2,
            changesBitmaps: kind == .qcow2 && job.bitmap != nil)
        let name = Self.target(job.target)
        let target = try Disk.openTarget(
            FilePath(files.path(name)), for: source, format: .raw,
            options: TargetOptions(
                create: job.mode == .full && !job.isResumed && !files.exists(name),
                overwrite: true, holdsMirror: job.mode == .incremental)
        ).watched(by: wire)
        var request = RecordedMirror.Request(job.mode == .full ? .full : .incremental)
        request.bitmap = job.bitmap.map { Self.bitmap($0) }
        request.bitmapMode = job.clearing.map { $0.mode }
        request.allowNewTarget = job.vouches
        request.verification = job.verification.kind
        request.checkpointInterval = job.isSlow ? 0 : nil
        // Small buffers, which are made anew for each job.
        let isSmall = job.isSlow && job.mode == .incremental
        request.options.requestSize = isSmall ? 4096 : 65536
        request.options.depth = job.isSlow ? 1 : 4
        request.options.rings = 1
        let records = RecordedMirror.RecordPlace.path(StorePlace.path(for: source))
        if job.isResumed {
            return try .resume(from: source, to: target, request: request, records: records)
        }
        if job.mode == .full {
            return try .full(from: source, to: target, request: request, records: records)
        }
        return try .incremental(from: source, to: target, request: request, records: records)
    }

    private static func ending(_ report: RecordedMirror.Report) -> Ending {
        switch report.mirror.outcome {
        case .mirrored:
            .success(
                Ending.Claim(
                    kind: report.claim.kind.rawValue, isConditional: report.claim.isConditional))
        case .failed(let error): .failed("\(error)")
        case .cancelled: .interrupted
        }
    }

    private static func ending(_ error: any Error) -> Ending {
        guard let error = error as? any DescribedError else { return .failed("\(error)") }
        return switch error.category {
        case .usage: .unusable("\(error)")
        case .refused, .different: .refused("\(error)")
        case .failed, .interrupted: .failed("\(error)")
        }
    }
}

extension Surroundings {
    /// How many places are written to before they show.
    var places: Int {
        switch self {
        case .quiet: .max
        case .interrupted(let after), .killed(let after), .failing(let after),
            .sourceWritten(let after):
            after
        }
    }
}

extension Job.Clearing {
    var mode: BitmapMode {
        switch self {
        case .onSuccess: .onSuccess
        case .never: .never
        case .always: .always
        }
    }
}

extension Job.Verification {
    var kind: MirrorVerification {
        switch self {
        case .none: .none
        case .copied: .copied
        case .all: .all
        }
    }
}
