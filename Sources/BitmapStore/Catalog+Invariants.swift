internal import BlockStorage
internal import DirtyBitmap

extension Catalog {
    /// What contradicts itself; nil: nothing. Neither may be read from a file nor be written to
    /// one.
    var flaw: String? {
        if nextID > Self.idMax { return "the next number is absurd" }
        guard bitmaps.count + imageBitmaps.count <= 2 * Self.bitmapsMax,
            jobs.count + recorders.count <= Self.jobsMax, targets.count <= Self.targetsMax
        else { return "it has too many entries" }
        return numberFlaw ?? nameFlaw ?? pathFlaw ?? amountFlaw ?? timeFlaw ?? jobFlaw ?? targetFlaw
            ?? doubtFlaw ?? historyFlaw
    }

    private var numberFlaw: String? {
        var ids: Set<UInt64> = []
        let given =
            bitmaps.map(\.id) + imageBitmaps.map(\.id) + jobs.map(\.id) + recorders.map(\.id)
        for id in given where id >= nextID || !ids.insert(id).inserted {
            return "number \(id) is used twice, or not given out yet"
        }
        let size = device.size
        guard trees.allSatisfy({ $0.layout.geometry.size == size }) else {
            return "it has bits of disks of two sizes"
        }
        return nil
    }

    private var nameFlaw: String? {
        guard Set(bitmaps.map(\.name)).count == bitmaps.count,
            Set(imageBitmaps.map(\.name)).count == imageBitmaps.count
        else { return "two bitmaps have one name" }
        let names = bitmaps.map(\.name) + imageBitmaps.map(\.name)
        return names.contains { BitmapName.flaw(in: $0) != nil }
            ? "a bitmap has an impossible name" : nil
    }

    private var pathFlaw: String? {
        let paths = jobs.flatMap { [$0.sourcePath, $0.targetPath] } + targets.map(\.path)
        return paths.contains { $0.utf8.contains(0) } ? "a path has a zero byte" : nil
    }

    /// Amounts that users of the store subtract from each other.
    private var amountFlaw: String? {
        for job in jobs where !(0...device.size).contains(job.planned) {
            return "job \(job.id) was to copy \(job.planned) bytes of \(device.size)"
        }
        for target in targets {
            guard let bytes = target.success?.bytesCopied, bytes < 0 else { continue }
            return "a job copied \(bytes) bytes"
        }
        return nil
    }

    /// Points in time that no clock of the kernel's shows, and that calendars may not know.
    private var timeFlaw: String? {
        let known: ClosedRange<Int64> = -(1 << 36)...1 << 36
        var times = bitmaps.map(\.createdAt) + targets.compactMap(\.success?.time)
        times += jobs.map(\.startedAt) + jobs.compactMap(\.checkpointedAt)
        times += jobs.map(\.holder.startedAt) + recorders.map(\.holder.startedAt)
        times += (targets.map(\.doubts) + jobs.map(\.doubts)).joined().compactMap(\.time)
        return times.first { !known.contains($0) }.map { "something was at \($0) s since 1970" }
    }

    /// The granularity of each bitmap, by its number.
    private var shifts: [UInt64: Int] {
        let all =
            bitmaps.map { ($0.id, $0.bits.layout.shift) }
            + imageBitmaps.map { ($0.id, $0.settled.layout.shift) }
        return Dictionary(all) { first, _ in first }
    }

    private var jobFlaw: String? {
        let shifts = shifts
        var open: Set<UInt64> = []
        for job in jobs {
            guard let bitmap = job.bitmap else {
                if job.taken != nil || job.marked != nil {
                    return "job \(job.id) has bits of no bitmap"
                }
                continue
            }
            guard let shift = shifts[bitmap], job.taken != nil, job.marked?.layout.shift == shift
            else { return "job \(job.id) belongs to no bitmap" }
            if job.isOpen, !open.insert(bitmap).inserted {
                return "two jobs at a time have one bitmap"
            }
        }
        let stored = Set(bitmaps.map(\.id))
        return recorders.allSatisfy { stored.contains($0.bitmap) }
            ? nil : "a recorder belongs to no bitmap"
    }

    private var targetFlaw: String? {
        let shifts = shifts
        var seen: Set<TargetKey> = []
        for target in targets {
            guard shifts[target.bitmap] == target.lacked.layout.shift else {
                return "a target belongs to no bitmap"
            }
            guard seen.insert(TargetKey(bitmap: target.bitmap, identity: target.identity)).inserted
            else { return "a bitmap has one target twice" }
        }
        return nil
    }

    private var doubtFlaw: String? {
        let lists = targets.map(\.doubts) + jobs.map(\.doubts)
        return lists.contains { Set($0.map(\.kind)).count < $0.count }
            ? "a target or a job has one doubt twice" : nil
    }

    private struct TargetKey: Hashable {
        let bitmap: UInt64
        let identity: DeviceIdentity
    }
}
