import ArgumentParser
import RingMirror

extension RecordOptions {
    /// Whether an interrupted job is resumed: if that was asked for, or may be and there is one.
    ///
    /// - Parameter bitmap: the named bitmap that the job works on.
    func resumes(
        _ mode: JobMode, bitmap: String?, from source: Disk, to target: PathArgument,
        _ complaint: Complaint
    ) throws -> Bool {
        try store.requirePlace(complaint)
        guard resumeAuto else { return resume }
        let reference: BitmapReference?
        do throws(MirrorError) {
            reference = try bitmap.map { (name) throws(MirrorError) in
                try store.reference(to: name, of: source)
            }
        } catch {
            throw complaint.end(error)
        }
        do throws(BitmapStoreError) {
            let records = try BitmapStore.open(
                store.path(for: source), for: source.identity, access: .readOnly)
            return try records.jobs().contains { job in
                job.mode == mode && job.bitmap == reference
                    && Files.lead(job.targetPath, target.path)
            }
        } catch .notFound {
            return false
        } catch {
            throw complaint.end(error)
        }
    }

    /// Whether the target is made: with `--resume=auto` only if it is missing. On a disk, which
    /// never is, an image is made.
    func creates(_ create: Bool, _ target: PathArgument, _ format: ImageFormat) -> Bool {
        let isThere =
            format == .raw || !Files.isDisk(target.path) ? Files.exists(target.path) : false
        return create && !(resumeAuto && isThere)
    }

    /// Begins a mirror, or resumes one. What may be resumed and can't be is begun anew.
    ///
    /// - Parameter mayOverwrite: the user has agreed to lose what is on the target, or the new job
    ///   asks itself whether it holds what it goes on from. Without that, the guards have let the
    ///   target pass only for what the interrupted job left on it, which it has to hold still.
    func begin(
        resuming: Bool, mayOverwrite: Bool, _ source: Disk, _ target: Disk,
        _ output: OutputOptions,
        resume: () throws(MirrorError) -> RecordedMirror,
        anew: () throws(MirrorError) -> RecordedMirror
    ) throws(MirrorError) -> RecordedMirror {
        guard resuming else { return try anew() }
        do throws(MirrorError) {
            return try resume()
        } catch {
            switch error {
            case .changed, .nothingToResume:
                guard resumeAuto, mayOverwrite || isLeftOver(target, from: source) else {
                    throw error
                }
                output.warn(.begunAnew, "beginning anew: \(error.problem)")
                return try anew()
            default: throw error
            }
        }
    }
}

extension RecordOptions {
    /// Whether the target is known to be as an interrupted job has left it.
    private func isLeftOver(_ target: Disk, from source: Disk) -> Bool {
        guard
            let records = try? BitmapStore.open(
                store.path(for: source), for: source.identity, access: .readOnly),
            let jobs = try? records.jobs()
        else { return false }
        return jobs.contains { $0.hasLeft(target) }
    }
}

extension StoreOptions {
    /// Refuses a place where no record can be kept, before the first byte is copied: an interrupted
    /// job could not be resumed.
    func requirePlace(_ complaint: Complaint) throws(ExitCode) {
        guard let path = file?.path else { return }
        let folder = path.removingLastComponent()
        guard !folder.isEmpty, !Files.isDirectory(folder) else { return }
        throw complaint.end(
            Failure(
                .notFound,
                "--bitmaps \(path): there is no directory \(folder)",
                remedy: "Make it first, or choose another place.", path: folder, .usage))
    }
}
