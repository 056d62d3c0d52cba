internal import BlockStorage
internal import DirtyBitmap

/// What files of version 1 have in other fields than those of today: one last success for each
/// bitmap, and times of change instead of witnesses.
enum VersionOne {
    static let number: UInt32 = 1

    /// The target of a bitmap's last success, which lacked nothing but the bitmap's marks.
    static func target(
        of bitmap: BitmapEntry, _ fields: FieldReader
    ) throws(FieldError) -> TargetEntry? {
        guard let success = try fields.fields(6) else { return nil }
        try success.checkTags(1...6, in: "last success")
        let identity = try DeviceIdentity(
            decoding: try need(try success.fields(2), "a target"))
        let found = TargetSuccess(
            time: try need(try success.number(1), "a time"),
            bytesCopied: try need(try success.number(4), "an amount"),
            mode: try need(try success.word(5), "a mode"), sourceWitness: [])
        return TargetEntry(
            bitmap: bitmap.id, identity: identity,
            path: try need(try success.text(3), "a target"),
            lacked: .clean(bitmap.bits.layout), success: found,
            witness: witness(modified: try success.number(6), of: identity),
            doubts: TargetDoubt.unrecorded(found.mode, at: found.time))
    }

    /// Adds to a job what only this version has.
    static func complete(_ job: inout JobEntry, _ fields: FieldReader) throws(FieldError) {
        job.sourceWitness = witness(modified: try fields.number(17), of: job.source)
    }

    private static func witness(modified: Int64?, of identity: DeviceIdentity) -> [WriteWitness] {
        guard let modified else { return [] }
        return [
            WriteWitness(
                size: identity.size, modified: modified, statusChanged: nil, counters: nil)
        ]
    }
}

extension Catalog {
    /// In version 1 a job that failed took marks away that another target still lacked, if its
    /// bitmap's mode was `always`. Where a record tells of such a job, what it took counts as
    /// lacking.
    mutating func allowForLostMarks() {
        for job in jobs where job.bitmapMode == .always && !job.isOpen {
            for place in targets.indices
            where targets[place].bitmap == job.bitmap
                && job.target.difference(from: targets[place].identity) != nil
            {
                guard let taken = job.taken else { continue }
                let lacked = targets[place].lacked
                // Two of them can't be joined here without reading; everything is right, too.
                targets[place].lacked =
                    taken.layout == lacked.layout && lacked.dirtyBytes == 0
                    ? taken : .dirty(lacked.layout)
            }
        }
    }
}
