internal import BlockStorage
internal import DirtyBitmap
public import Ring

/// Compares two disks while they are written.
///
/// The kernel tells what is written to either of them meanwhile. That is compared again, pass after
/// pass, until all of it was the same when it was read and was not written since.
public final class LiveComparison {
    /// What the comparison has found out.
    public enum Verdict: Sendable, Hashable {
        /// Both sides were the same at one moment, in seconds since 1970: in all bytes, or in all
        /// that the bitmap does not have marked.
        case identical(at: Int64)
        /// They differ where nothing was written in several passes.
        case different
        /// So many bytes were written, or differed, in each pass.
        case unsettled(bytes: Int64)
    }

    /// The end of a comparison.
    public struct Report: Sendable {
        /// Nil if the last pass did not end, or a write was not seen.
        public internal(set) var verdict: Verdict?
        /// Why there is none.
        public internal(set) var error: MirrorError?
        /// The last pass. Some of what it found different may have been written meanwhile.
        public internal(set) var last: CompareReport
        /// How often something was compared.
        public internal(set) var passes = 0
        /// Bytes that were compared, in all passes.
        public internal(set) var compared: Int64 = 0
        /// Bytes that were read of both sides, in all passes.
        public internal(set) var read: Int64 = 0
        /// Bytes that need not be the same, because the bitmap has them marked; nil: there is none.
        public internal(set) var excused: Int64?
        /// Of all passes, and what was waited between them.
        public internal(set) var seconds = 0.0
    }

    private let first: Disk
    private let second: Disk
    private let io: IOMethod
    private let writes: WritesToBoth
    private let excused: DirtyBitmap?

    private static var passesMax: Int { 40 }

    /// - Parameter bitmap: a bitmap of the first disk for which that is tracked, and where its
    ///   store is. What it has dirty for the second disk need not be the same.
    /// - Throws: if the kernel can't tell what is written to one of the disks, or the bitmap can't
    ///   tell what the second lacks.
    public init(
        _ first: Disk, _ second: Disk,
        bitmap: (name: String, records: RecordedMirror.RecordPlace)? = nil,
        io: IOMethod = .automatic
    ) throws(MirrorError) {
        guard first.image == nil, first.device.kind == .disk else {
            throw .live(.notADisk(first.path))
        }
        self.first = first
        self.second = second
        self.io = io
        let excusing = try bitmap.map { (bitmap) throws(MirrorError) in
            try ExcusingBitmap(bitmap.name, in: bitmap.records, of: first, for: second)
        }
        writes = try WritesToBoth(first, second, granularity: excusing?.granularity ?? .max)
        guard let excusing else {
            excused = nil
            return
        }
        // After the trackers have begun: what is written in between is told twice.
        excused = writes.cut(try excusing.load())
    }

    /// Compares until it is known.
    ///
    /// - Parameter pass: runs a comparison, and gives back its report.
    public func run(_ pass: (CompareJob) -> CompareReport) -> Report {
        let start = Clock.now
        var all = DirtyBitmap(size: writes.size, granularity: writes.granularity)
        all.setAll()
        var passes = LivePasses(all: all, excused: excused?.copy())
        var (compared, read) = (Int64(0), Int64(0))
        while true {
            let job = CompareJob(
                first, second, only: passes.undecided.copy(), isPrefix: false, isWatched: false,
                io: io)
            let last = pass(job)
            compared += last.compared
            read += last.read
            var report = Report(error: last.error, last: last, compared: compared, read: read)
            if last.error == nil {
                do throws(MirrorError) {
                    report.verdict = try verdict(&passes, job.differences())
                } catch {
                    report.error = error
                }
            }
            report.passes = passes.count
            report.excused = passes.excusedBytes
            report.seconds = Double(Clock.now - start) / 1e9
            guard report.verdict == nil, report.error == nil else { return report }
            // What follows one of the sides, such as a live mirror, has time to.
            Clock.sleep(nanoseconds: min(Int64(passes.count) * 20_000_000, 250_000_000))
        }
    }

    /// What is known after a pass; nil: another one is needed.
    private func verdict(
        _ passes: inout LivePasses, _ differing: borrowing DirtyBitmap
    ) throws(MirrorError) -> Verdict? {
        let written = writes.drain()
        switch passes.note(differing: differing, first: written.first, second: written.second) {
        case .different:
            try writes.requireNothingLost()
            return .different
        // What is written to the first goes on being excused.
        case .done where writes.comesToRest(both: passes.excusedBytes == nil):
            let moment = Clock.secondsSince1970
            try writes.requireNothingLost()
            return .identical(at: moment)
        case .done:
            let written = writes.drain()
            passes.goOn(first: written.first, second: written.second)
        case .again: break
        }
        guard passes.count < Self.passesMax else {
            return .unsettled(bytes: passes.undecided.dirtyBytes)
        }
        return nil
    }
}
