internal import Synchronization
internal import SystemPackage

// Who else writes a target.

/// Whether other processes that write an open file or disk are noted.
enum WriterWatch {
    case on(ForeignWriters)
    /// The kernel notes none, as a sentence.
    case blind(String)

    /// - Parameter isOpened: see `ForeignWriters`.
    static func begin(_ descriptor: Descriptor, isOpened: Bool) -> WriterWatch {
        do throws(Errno) {
            return .on(try ForeignWriters(of: descriptor, isOpened: isOpened))
        } catch {
            return .blind("the kernel does not tell (\(error))")
        }
    }
}

extension StorageDevice {
    /// From now on, whoever writes it besides this process is noted: for the first job from before
    /// the guards have looked at it, for another one from this call.
    package func watchWriters() {
        writers.withLock { watch in
            switch watch {
            case nil: watch = .begin(descriptor, isOpened: true)
            case .on(let earlier) where earlier.hasEnded:
                watch = .begin(descriptor, isOpened: true)
            case .on, .blind: break
            }
        }
    }

    /// What was heard of since; nil: nobody has asked for it, or nothing is told.
    private var heard: ForeignWriters.Heard? {
        guard case .on(let watch) = writers.withLock({ $0 }) else { return nil }
        return watch.heard(.live)
    }

    /// Throws if another process has written it since `watchWriters`, as far as that is noted; each
    /// time, once that is known.
    package func requireNoOtherWriter() throws(StorageError) {
        guard let writer = heard?.writer else { return }
        throw .writtenByOther(path: path, writer: writer)
    }

    /// All of it is compared from now on, with what it should have.
    package func beginComparison() {
        if case .on(let watch) = writers.withLock({ $0 }) { watch.beginComparison(.live) }
    }

    /// Who could have written it since `watchWriters` without a note, by a mapping or libaio, or
    /// still could: a phrase; nil: nobody that was heard of.
    ///
    /// - Parameter compared: all of it was found right since `beginComparison`: what matters is who
    ///   could have written it since then.
    ///
    /// Complexity: nothing, unless something has opened it; then a look at all processes.
    package func possibleWriter(compared: Bool = false) -> String? {
        guard let heard else { return nil }
        if let known = heard.possibleWriter(compared: compared) { return known }
        guard heard.isOpened else { return nil }
        let users = GuardRunner(view: .live).users(of: node, at: resolvedPath)
        if let writer = users.writer { return writer }
        // Who has closed it during that look was not found by it.
        guard let heard = self.heard else { return nil }
        return heard.possibleWriter(compared: compared)
            ?? heard.hiddenOpener(besides: users.readers, .live)
    }

    /// Why nobody would notice another process that writes it, as a sentence; nil: it is noticed.
    package var blindnessToWriters: String? {
        let why: String
        switch writers.withLock({ $0 }) {
        case nil: return nil
        case .blind(let reason): why = reason
        case .on(let watch):
            guard let failure = watch.heard(.live).failure else { return unseenUsers }
            why = "the kernel does not tell (\(failure))"
        }
        return "what else writes \(path) would not be noticed: \(why)"
    }

    /// Ends the watch. What is known by now stays known.
    package func endWatch() {
        if case .on(let watch) = writers.withLock({ $0 }) { watch.end(descriptor, .live) }
    }
}

extension ForeignWriters.Heard {
    fileprivate func possibleWriter(compared: Bool) -> String? {
        if isIncomplete { return "more has happened than the kernel keeps in mind" }
        return (compared ? closerSinceComparison : closer).map {
            "\($0) had it open for writing"
        }
    }

    /// Who has it open in a way that no look at processes shows: in an io_uring, on its way to
    /// another process through a socket, or where other users' processes can't be looked at.
    fileprivate func hiddenOpener(besides readers: Set<Int>, _ view: SystemView) -> String? {
        guard let opener = openers.keys.filter({ !readers.contains($0) }).min() else { return nil }
        guard opener > 0 else { return "something that can't be seen from here" }
        return "\(Self.name(opener, view)), and where it has it now can't be seen"
    }
}
