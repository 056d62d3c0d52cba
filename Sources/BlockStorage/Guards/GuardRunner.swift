import Glibc
internal import SystemPackage

/// Runs the guards on an open descriptor, in the order in which their messages help most.
struct GuardRunner {
    let view: SystemView

    /// Asks who may write the source while it is read.
    ///
    /// - Returns: who uses it, in a sentence; nil: nobody.
    func checkSource(
        _ source: OpenedObject, options: SourceOptions
    ) throws(StorageError) -> String? {
        let findings = try UseGuard(survey: survey(for: source)).findings(
            on: source.status.identity, at: source.resolvedPath)
        var uses = findings.uses
        uses += writers(to: source, findings).map { .openForWriting($0) }
        if uses.isEmpty && source.writers == .some {
            uses = [.openForWritingUnseen(path: source.resolvedPath)]
        }
        if uses.isEmpty && !source.isClaimed { uses = claims(on: source, findings.reach) }
        if uses.isEmpty && options.allowSourceInUse {
            // Without the option, this is asked while the locks are taken.
            uses = ImageLocking.use(of: source, view).map { [$0] } ?? []
        }
        guard !uses.isEmpty else { return nil }
        guard options.allowSourceInUse else {
            throw .refused(.sourceInUse(source: source.path, uses: uses))
        }
        let list = uses.map(\.description).joined(separator: "; ")
        return "\(source.path) is in use (\(list)): what is read from it may mix data from "
            + "different times"
    }

    /// What nobody could look at, in a sentence; nil if there is nothing.
    ///
    /// What a file belongs to is asked of the kernel, which tells its owner alone whether it is
    /// open elsewhere, and of processes, whose open files only their own user sees. What writes a
    /// disk that is read moves its counters.
    func blindness(to object: OpenedObject, as access: Access) -> String? {
        guard object.writers == .unknown, !view.seesAllProcesses,
            object.kind == .image || access == .readWrite
        else { return nil }
        let whoCan = object.kind == .image ? "its owner and root can" : "root can"
        return "whether processes of other users have \(object.path) open can't be seen: \(whoCan)"
    }

    /// Asks whether the target may be written at all, and will not change any of the sources.
    func checkTarget(
        _ target: OpenedObject, apartFrom sources: [StorageDevice]
    ) throws(StorageError) {
        let survey = try survey(for: target)
        for source in sources { try checkOverlap(target, source, survey) }
        try ReadOnlyGuard.check(target)
        let findings = UseGuard(survey: survey).findings(
            on: target.status.identity, at: target.resolvedPath)
        guard findings.uses.isEmpty else {
            throw .refused(.targetInUse(target: target.path, uses: findings.uses))
        }
        let writers = writers(to: target, findings)
        guard writers.isEmpty else {
            throw .refused(.openByProcess(target: target.path, processes: writers))
        }
        guard target.writers != .some else {
            throw .refused(
                .targetInUse(
                    target: target.path, uses: [.openForWritingUnseen(path: target.resolvedPath)]))
        }
        guard target.isClaimed else {
            throw .refused(
                .targetInUse(target: target.path, uses: claims(on: target, findings.reach)))
        }
    }

    /// Who has storage open, or stands on it, that was free when it was opened.
    struct Users {
        /// Who may write it, as a phrase; nil: nobody that is seen.
        let writer: String?
        /// The processes that only read it.
        let readers: Set<Int>
    }

    func users(of node: NodeIdentity, at path: String) -> Users {
        let survey: Survey
        do throws(Survey.Blindness) { survey = try .take(view) } catch {
            return Users(
                writer: "who has it open can't be seen (\(error.missing))", readers: [])
        }
        let findings = UseGuard(survey: survey).findings(on: node, at: path)
        let openers = ProcessGuard.openers(of: findings.reach, view)
        let writer =
            findings.uses.first?.description
            ?? openers.first(where: \.canWrite).map { "\($0.process) has it open for writing" }
        return Users(writer: writer, readers: Set(openers.map(\.process.pid)))
    }

    /// A lease that was given proves what a look at all processes can only make likely.
    private func writers(
        to object: OpenedObject, _ findings: UseGuard.Findings
    ) -> [ProcessName] {
        switch object.writers {
        // It was given for one of the file's numbers.
        case .none: ProcessGuard.lastingWriters(to: findings.aliases, view)
        // Those that stay only for a moment were waited for.
        case .some: ProcessGuard.certainWriters(to: findings.reach, view)
        case .unknown: ProcessGuard.lastingWriters(to: findings.reach, view)
        }
    }

    private func checkOverlap(
        _ target: OpenedObject, _ source: StorageDevice, _ survey: Survey
    ) throws(StorageError) {
        let verdict = OverlapGuard(survey: survey).compare(
            source: .init(identity: source.node, resolvedPath: source.resolvedPath),
            target: .init(identity: target.status.identity, resolvedPath: target.resolvedPath))
        switch verdict {
        case .apart where !isShown(target, as: source): break
        case .apart, .same:
            throw .refused(.sourceIsTarget(source: source.path, target: target.path))
        case .overlap(let how):
            throw .refused(.overlaps(source: source.path, target: target.path, how: how))
        }
    }

    /// Whether two names are of one file that an overlay shows under another device number. Where
    /// its layers can't be seen from here, what it passes on of the file tells: nobody can set when
    /// a file last changed. Of the inode's number it may use the high bits.
    private func isShown(_ target: OpenedObject, as source: StorageDevice) -> Bool {
        guard target.kind == .image, source.kind == .image,
            [target.descriptor, source.descriptor].contains(where: { file in
                (try? SystemCalls.filesystemMagic(file)) == Filesystem.overlay.magic
            }), let one = try? SystemCalls.status(of: target.descriptor),
            let other = try? SystemCalls.status(of: source.descriptor)
        else { return false }
        return UInt32(truncatingIfNeeded: one.inode) == UInt32(truncatingIfNeeded: other.inode)
            && one.size == other.size && one.changed == other.changed
            && one.modified == other.modified
    }

    /// Asks what a mirror of a disk of `size` would do to what the target holds; nil: of a disk of
    /// any size. Called with the locks held.
    func checkContent(
        of target: OpenedObject, size: Int64?, signatureSource: StorageDevice?,
        options: TargetOptions
    ) throws(StorageError) {
        let own = try SizeGuard.size(of: target)
        if let size {
            try SizeGuard.check(
                target, of: own, for: size, allowLarger: options.allowLarger)
        }
        guard !options.overwrite else { return }
        // Where a format is made on a disk, what the disk holds is no mirror.
        let holdsMirror = options.holdsMirror && !options.create
        try SignatureGuard.check(
            target, size: own, earlierMirror: holdsMirror ? signatureSource : nil, view)
        if !holdsMirror { try DataGuard.check(target, size: own, view) }
    }

    /// Descriptors that are open at once while the machine is looked at, and some more.
    private static let spareDescriptors = 4

    private func survey(for object: OpenedObject) throws(StorageError) -> Survey {
        // Without a descriptor to spare a look at proc and sysfs finds nothing in use.
        do throws(Errno) {
            var spare: [Descriptor] = []
            for _ in 0..<Self.spareDescriptors { spare.append(try SystemCalls.open("/", O_PATH)) }
            withExtendedLifetime(spare) {}
        } catch {
            throw .systemCall(call: "open", path: object.path, code: error)
        }
        let survey: Survey
        do throws(Survey.Blindness) {
            survey = try .take(view)
        } catch {
            throw .refused(.unverifiable(path: object.path, missing: error.missing))
        }
        if case .block(let number) = object.status.identity, survey.graph[number] == nil {
            throw .refused(
                .unverifiable(path: object.path, missing: "/sys/dev/block/\(number)"))
        }
        return survey
    }

    /// The kernel says that the disk is claimed and nothing else shows by whom: whoever has it
    /// open is the first to ask.
    private func claims(on object: OpenedObject, _ reach: Set<NodeIdentity>) -> [Use] {
        let openers = ProcessGuard.openers(of: reach, view).map(\.process)
        return [.claimed(device: object.resolvedPath, by: openers)]
    }
}
