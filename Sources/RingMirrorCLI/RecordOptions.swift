public import ArgumentParser
public import RingMirror

/// Where bitmaps and the records of jobs are.
struct StoreOptions: ParsableArguments {
    @Option(
        name: .customLong("bitmaps"),
        help: ArgumentHelp(
            "The file that keeps the bitmaps and the records of interrupted jobs.",
            discussion: """
                By default IMAGE.bitmaps beside an image; for a disk, a file named after the \
                disk's serial in /var/lib/ringmirror, or in $RINGMIRROR_STATE_DIR.
                """, valueName: "file"),
        completion: .file())
    var file: PathArgument?

    func path(for disk: Disk) -> FilePath {
        file?.path ?? StorePlace.path(for: disk)
    }

    /// Which bitmap is meant by a name, in one place for all commands.
    func reference(
        to name: String, of source: Disk
    ) throws(MirrorError) -> BitmapReference {
        try source.reference(
            toBitmap: name, records: .path(path(for: source)), storeAlone: file != nil)
    }

    /// The first look at a bitmap that a mirror will work on, before a target is made for nothing.
    func bitmap(
        _ name: String, of source: Disk, _ complaint: Complaint
    ) throws -> BitmapFacts {
        do throws(MirrorError) {
            let home = try home(of: name, source, .readWrite)
            let bitmap = try home.bitmap(name)
            if bitmap.state == .inconsistent { _ = try home.load(name) }
            guard bitmap.state != .inconsistent else {
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
            return .image(bitmaps, records: store)
        }
        do throws(BitmapStoreError) {
            _ = try store?.bitmap(name)
            return store.map { .store($0) }
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
        if file == nil, let bitmaps = source.bitmaps { return .image(bitmaps, records: store) }
        return store.map { .store($0) }
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

    @Option(
        help: ArgumentHelp(
            "When the bitmap is cleared: on-success (default), never or always.",
            discussion: """
                on-success clears what was copied if all of it was; never leaves the bitmap alone; \
                always clears also after a failure what is safe on TARGET by then.
                """))
    var bitmapMode: BitmapMode?

    @Flag(
        help: """
            Resume a job that was interrupted or failed, from its last checkpoint. --resume=auto \
            begins one if there is none to be resumed, and with --create makes TARGET if it is \
            missing.
            """)
    var resume = false

    /// How argument-parser sees `--resume=auto`: it has no options with an optional value.
    @Flag(help: .hidden)
    var resumeAuto = false

    @Flag(
        help: """
            Run all safety checks and say what would be read, written and overwritten. Nothing is \
            written or made; the exit code is 0, or that of the check that refuses.
            """)
    var dryRun = false

    @Option(help: "Flush TARGET and record the progress every so many seconds; 0 for never.")
    var checkpoint = 5.0

    func validate() throws {
        guard checkpoint >= 0, checkpoint <= 86400 else {
            throw ValidationError("--checkpoint takes 0 to 86400 seconds, not \(checkpoint)")
        }
    }

    /// What can't be seen before it is known whether there is a bitmap.
    func validate(bitmap: String?) throws {
        if bitmapMode != nil && bitmap == nil {
            throw ValidationError(
                "--bitmap-mode says what becomes of a bitmap: it goes with --bitmap NAME")
        }
    }

    /// What can't be seen before it is known whether the target is made.
    func validate(create: Bool) throws {
        if create && resume {
            throw ValidationError(
                "--resume goes on with a target that is there: leave --create out")
        }
    }

    /// Whether a mirror by this bitmap may have to change a qcow2 image that it reads.
    func changesImage(_ bitmap: String?) -> Bool {
        bitmap != nil && store.file == nil && bitmapMode != .never
    }

    func request(
        _ mode: JobMode, bitmap: String?, _ copying: CopyOptions
    ) -> RecordedMirror.Request {
        var request = RecordedMirror.Request(mode)
        request.bitmap = bitmap
        request.ignoresImageBitmaps = store.file != nil
        request.bitmapMode = bitmapMode
        request.checkpointInterval = checkpoint > 0 ? Int64(checkpoint * 1e9) : nil
        request.verification = copying.verify?.library ?? .none
        request.options = copying.mirrorOptions
        return request
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
            "Compare what was copied after the flush, reading back from the devices."
        case .verifyAll: "Compare all of both sides; also --verify=all."
        }
    }

    /// The same for the library.
    var library: MirrorVerification {
        switch self {
        case .verify: .copied
        case .verifyAll: .all
        }
    }

    /// `--verify=all` reads better than `--verify-all`, and argument-parser has no options with an
    /// optional value.
    static func translate(_ arguments: [String]) -> [String] {
        arguments.map { argument in
            switch argument {
            case "--verify=all": "--verify-all"
            case "--resume=auto": "--resume-auto"
            default: argument
            }
        }
    }
}

extension BitmapMode: ExpressibleByArgument {}
