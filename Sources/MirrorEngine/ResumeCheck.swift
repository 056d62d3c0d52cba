internal import BlockStorage
internal import DirtyBitmap

/// Looks at a few places that an interrupted full mirror says it has copied, before it is gone on
/// with.
///
/// A disk that was written between the interrupt and the resuming shows it nowhere, nor does a
/// target that another mirror has written over. A sample does not prove that all is well, but what
/// was changed in many places is found.
enum ResumeCheck {
    /// 64 places of 64 KiB: 8 MiB are read, which takes some milliseconds on a disk without seeks.
    private static let places = 64

    /// The first place found where the two sides differ and that is not in `remaining`; nil if
    /// there is none, or if they can't be read, which the job will find out by itself.
    static func firstDifference(
        _ source: Disk, _ target: Disk, without remaining: borrowing DirtyBitmap
    ) -> Int64? {
        CompareJob(
            source, target, only: sample(without: remaining), isPrefix: true, isWatched: false
        ).runAndWait().firstDifference
    }

    /// Some granules that are not in `remaining`.
    static func sample(without remaining: borrowing DirtyBitmap) -> DirtyBitmap {
        let size = remaining.size
        var sample = DirtyBitmap(size: size, granularity: remaining.granularity)
        guard size > 0 else { return sample }
        // What tells disks apart stands at their beginning: partition tables, superblocks.
        for offset in stride(from: 0, to: min(size, 1 << 20), by: Int(sample.granularity.bytes))
        where !remaining.isDirty(at: offset) { sample.set(offset..<(offset + 1)) }
        var random = SystemRandomNumberGenerator()
        for _ in 0..<places {
            let offset = Int64.random(in: 0..<size, using: &random)
            guard
                let clean = remaining.nextClean(from: offset) ?? remaining.nextClean(from: 0)
            else { return sample }
            sample.set(clean..<(clean + 1))
        }
        return sample
    }
}
