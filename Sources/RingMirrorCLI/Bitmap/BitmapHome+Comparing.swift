import RingMirror

// What a comparison of two disks leaves in a bitmap of the first.

extension BitmapHome {
    /// The same with a store beside an image, which is made if it can be.
    func withRecords(at place: FilePath) -> BitmapHome {
        guard case .image(let image, let disk, nil) = self,
            let records = try? BitmapStore.openOrCreate(place, for: disk.identity)
        else { return self }
        return .image(image, of: disk, records: records)
    }

    /// Marks in a bitmap, which is added if it is not there, what a comparison has found; its
    /// second side is known as a target from then on.
    func put(
        _ found: borrowing DirtyBitmap, into name: String, granularity: Granularity,
        _ comparison: ComparisonRecord
    ) throws(MirrorError) {
        var comparison = comparison
        switch self {
        case .store(let store, _):
            try comparison.judge(.stored(name), in: store)
            try put(found, into: name, granularity: granularity)
            try comparison.note(.stored(name), in: store)
        case .image(_, _, let records?):
            if try bitmaps().contains(where: { $0.name == name }) {
                try comparison.judge(
                    .image(name), in: records, imageMarks: try load(name),
                    isRecording: try bitmap(name).state == .recording)
            }
            try put(found, into: name, granularity: granularity)
            try comparison.note(.image(name), in: records, imageMarks: try load(name))
        case .image(_, _, nil):
            // Without a store no target can be known: the next job says on what it rests.
            try put(found, into: name, granularity: granularity)
        }
    }
}
