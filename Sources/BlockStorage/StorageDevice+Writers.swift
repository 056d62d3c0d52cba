internal import Synchronization
internal import SystemPackage

// Who else writes a target.

/// Whether other processes that write an open file or disk are noted.
enum WriterWatch {
    /// Nobody has asked for that.
    case none
    case on(ForeignWriters)
    /// The kernel notes none, as a sentence.
    case blind(String)
}

extension StorageDevice {
    /// From now on, whoever writes it besides this process is noted. Once is enough.
    package func watchWriters() {
        writers.withLock { watch in
            guard case .none = watch else { return }
            guard !isWrittenUnseen else {
                watch = .blind("its filesystem may be written beside this mount")
                return
            }
            do throws(Errno) { watch = .on(try ForeignWriters(of: descriptor)) } catch {
                watch = .blind("the kernel does not tell (\(error))")
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

    /// Who could have written it since `watchWriters` without a note, by a mapping or libaio, or
    /// still could: a phrase; nil: nobody that was heard of.
    ///
    /// Complexity: nothing, unless something has opened it; then a look at all processes.
    package func possibleWriter() -> String? {
        guard let heard else { return nil }
        if let closer = heard.closer { return "\(closer) had it open for writing" }
        if let opener = heard.unseenOpener { return opener }
        guard heard.isOpened else { return nil }
        if let user = GuardRunner(view: .live).user(of: node, at: resolvedPath) { return user }
        // Who has closed it during that look was not found by it.
        return self.heard?.closer.map { "\($0) had it open for writing" }
    }

    /// Why nobody would notice another process that writes it, as a sentence; nil: it is noticed.
    package var blindnessToWriters: String? {
        guard case .blind(let why) = writers.withLock({ $0 }) else { return nil }
        return "what else writes \(path) would not be noticed: \(why)"
    }

    /// Ends the watch. What is known by now stays known.
    package func endWatch() {
        if case .on(let watch) = writers.withLock({ $0 }) { watch.end() }
    }
}
