public import ArgumentParser
public import RingMirror

/// Where bitmaps and the records of jobs are.
struct StoreOptions: ParsableArguments {
    @Option(
        name: .customLong("bitmaps"),
        help: ArgumentHelp(
            "The file that keeps bitmaps and the records of interrupted jobs.",
            discussion: """
                Default: IMAGE.bitmaps beside an image; for a disk, a file named after the \
                disk's serial in /var/lib/ringmirror, or in $RINGMIRROR_STATE_DIR.
                """, valueName: "file"),
        completion: .file())
    var file: PathArgument?

    func path(for disk: Disk) -> FilePath {
        file?.path ?? StorePlace.path(for: disk)
    }

    /// Looks whether records can be kept, before anything is written: a mirror that can't record
    /// its progress says so only when it is under way.
    func check(for source: Disk, _ target: PathArgument, _ complaint: Complaint) throws {
        let place = path(for: source)
        if Files.areSame(target.path, place) {
            throw complaint.end(
                Failure(
                    .sameStorage,
                    "target \(target) is where the bitmaps and records of \(source.path) are kept",
                    remedy: "Name another target.", path: target.path, .refused))
        }
        guard let file else { return }
        if let input = source.devices.first(where: { $0.isSame(as: place) }) {
            throw complaint.end(
                Failure(
                    .sameStorage,
                    "--bitmaps \(file) is \(input.path), which is read",
                    remedy: "Name another file.", path: place, .refused))
        }
        do throws(BitmapStoreError) {
            _ = try BitmapStore.open(place, for: source.identity, access: .readOnly)
        } catch .notFound {
            try checkFolder(of: place, complaint)
        } catch {
            throw complaint.end(error)
        }
    }

    private func checkFolder(of place: FilePath, _ complaint: Complaint) throws {
        let parent = place.removingLastComponent()
        let folder = parent.isEmpty ? FilePath(".") : parent
        guard place != StorePlace.stateDirectory(), parent != StorePlace.stateDirectory(),
            !Files.isWritable(folder)
        else { return }
        throw complaint.end(
            Failure(
                .notFound,
                "--bitmaps \(place): nothing can be made in directory \(folder)",
                remedy: "Make it first, or choose another place.", path: folder, .usage))
    }

    /// Which bitmap is meant by a name, in one place for all commands.
    func reference(
        to name: String, of source: Disk
    ) throws(MirrorError) -> BitmapReference {
        do throws(BitmapStoreError) { try BitmapHome.requireText(name) } catch {
            throw .store(error)
        }
        return try source.reference(
            toBitmap: name, records: .path(path(for: source)), storeAlone: file != nil)
    }

    /// The first look at a bitmap that a mirror will work on, before a target is made for nothing.
    ///
    /// - Parameter all: everything is copied, so that a bitmap of a store need not be consistent.
    func bitmap(
        _ name: String, of source: Disk, all: Bool = false, _ complaint: Complaint
    ) throws -> BitmapFacts {
        do throws(MirrorError) {
            let home = try home(of: name, source, .readWrite)
            let bitmap = try home.bitmap(name)
            if bitmap.state == .inconsistent { _ = try home.load(name) }
            guard bitmap.state != .inconsistent || all && !bitmap.isInImage else {
                throw .store(.inconsistent(name: name, path: home.path))
            }
            return bitmap
        } catch {
            throw complaint.end(error)
        }
    }

    /// Where the bitmap of a name is kept.
    ///
    /// - Throws: what keeps that from being known, and a bitmap that is nowhere.
    func home(
        of name: String, _ source: Disk, _ access: Access
    ) throws(MirrorError) -> BitmapHome {
        if let home = try homeIfAny(of: name, source, access) { return home }
        let others = try home(of: source, access)?.bitmaps().map(\.name) ?? []
        guard others.isEmpty else {
            throw .store(
                .noSuchBitmap(name: name, existing: others, path: source.path))
        }
        throw .storage(
            .image(
                ImageProblem(
                    .missing, source.path, "it has no bitmap '\(name)'",
                    remedy: "`ringmirror bitmap add \(source.path) \(name)` adds one.")))
    }

    /// The same; nil if the bitmap is nowhere.
    func homeIfAny(
        of name: String, _ source: Disk, _ access: Access
    ) throws(MirrorError) -> BitmapHome? {
        let reference = try reference(to: name, of: source)
        let store = try existing(for: source, access)
        if case .image = reference, let bitmaps = source.bitmaps {
            return .image(bitmaps, of: source, records: store)
        }
        do throws(BitmapStoreError) {
            _ = try store?.bitmap(name)
            return store.map { .store($0, of: source) }
        } catch .noSuchBitmap {
            return nil
        } catch {
            throw .store(error)
        }
    }

    /// Where all bitmaps are that a disk has, but for those in a store beside an image; nil if
    /// there is none, and no store for one.
    func home(of source: Disk, _ access: Access) throws(MirrorError) -> BitmapHome? {
        let store = try existing(for: source, access)
        if file == nil, let bitmaps = source.bitmaps {
            return .image(bitmaps, of: source, records: store)
        }
        return store.map { .store($0, of: source) }
    }

    /// The store, if it is there.
    private func existing(for source: Disk, _ access: Access) throws(MirrorError) -> BitmapStore? {
        do throws(BitmapStoreError) {
            return try BitmapStore.open(path(for: source), for: source.identity, access: access)
        } catch .notFound {
            return nil
        } catch {
            throw .store(error)
        }
    }

    /// What a bitmap has dirty, in the image or in the store, for a look.
    func bits(_ name: String, of source: Disk) throws(MirrorError) -> DirtyBitmap {
        try home(of: name, source, .readOnly).load(name)
    }
}

/// What a mirror that is recorded takes.
struct RecordOptions: ParsableArguments {
    @OptionGroup var store: StoreOptions

    @Flag(
        help: ArgumentHelp(
            "Resume a job that was interrupted or failed, from its last checkpoint.",
            discussion: """
                --resume=auto resumes the job if there is one and else begins it; with --create it \
                makes TARGET only if it is missing. So the same line can be run until it succeeds.
                """))
    var resume = false

    /// How argument-parser sees `--resume=auto`: it has no options with an optional value.
    @Flag(help: .hidden)
    var resumeAuto = false

    @Flag(
        help: ArgumentHelp(
            "Run all safety checks, say what would be done, and write nothing.",
            discussion: """
                It says what would be read, written and overwritten. The exit code is 0, or that \
                of the check that refuses.
                """))
    var dryRun = false

    @Option(
        help: ArgumentHelp(
            "Flush TARGET and record the progress every so many seconds; 0: never.",
            valueName: "seconds"))
    var checkpoint = 5.0

    func validate() throws {
        guard checkpoint >= 0, checkpoint <= 86400 else {
            throw ValidationError("--checkpoint takes 0 to 86400 seconds, not \(checkpoint)")
        }
    }

    func request(
        _ mode: JobMode, _ bitmap: BitmapChoice? = nil, _ copying: CopyOptions,
        _ tuning: TuningOptions
    ) -> RecordedMirror.Request {
        var request = RecordedMirror.Request(mode)
        request.bitmap = bitmap?.name
        request.ignoresImageBitmaps = store.file != nil
        request.bitmapMode = bitmap?.mode
        request.checkpointInterval = checkpoint > 0 ? Int64(checkpoint * 1e9) : nil
        request.verification = copying.verify?.library ?? .none
        request.options = tuning.mirrorOptions(copying)
        return request
    }
}

/// The named bitmap that a mirror works on.
struct BitmapChoice: ParsableArguments {
    @Option(
        name: .customLong("bitmap"),
        help: ArgumentHelp(
            "The bitmap of SOURCE that says what has changed; a success clears it.",
            discussion: """
                `incremental` copies what it has dirty, and what TARGET lacks besides. After \
                `full` it says what has changed since then.
                """, valueName: "name"))
    var name: String?

    @Option(
        name: .customLong("bitmap-mode"),
        help: ArgumentHelp(
            "When the bitmap is cleared (default: on-success).",
            discussion: """
                on-success clears what was copied if all of it was; never leaves the bitmap alone; \
                always clears also after a failure what is safe on TARGET by then.
                """, valueName: "when"))
    var mode: BitmapMode?

    func validate() throws {
        if mode != nil && name == nil {
            throw ValidationError(
                "--bitmap-mode says what becomes of a bitmap: it goes with --bitmap NAME")
        }
    }

    /// Whether a mirror by this bitmap may have to change a qcow2 image that it reads.
    func changesImage(_ store: StoreOptions) -> Bool {
        name != nil && store.file == nil && mode != .never
    }
}

/// What `--verify` compares.
enum Verification: String, EnumerableFlag {
    /// What was copied.
    case verify
    /// All of both sides.
    case verifyAll

    static func help(for value: Verification) -> ArgumentHelp? {
        switch value {
        case .verify:
            "After the flush, read back what was copied and compare it."
        case .verifyAll: "The same for all of both sides; also --verify=all."
        }
    }

    /// The same for the library.
    var library: MirrorVerification {
        switch self {
        case .verify: .copied
        case .verifyAll: .all
        }
    }
}

extension BitmapMode: ExpressibleByArgument {}

extension JobMode: ExpressibleByArgument {}
