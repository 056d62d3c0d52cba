/// What a look at one file or disk leaves behind, so that a later look can tell whether it was
/// written in between.
public struct WriteWitness: Hashable, Sendable, Codable {
    /// In bytes; nil: nobody knows how the file was.
    public var size: Int64?
    /// The inode of that file, and when it was made, in nanoseconds since 1970: at the same path
    /// there may be another one later. Nil where the filesystem does not tell, and for other disks.
    public var inode: UInt64?
    /// See `inode`.
    public var born: Int64?
    /// When the content of the file was last written, in nanoseconds since 1970: of an image, or
    /// of the file below a loop device. Nil for other disks.
    public var modified: Int64?
    /// When anything about that file last changed: content, names, owner or times. The same unit.
    public var statusChanged: Int64?
    /// Whether every write moves `modified`, as far as its filesystem tells. If not, a time that
    /// stays shows nothing.
    public var timesShowWrites: Bool
    /// What the kernel counted on a disk; nil where it was not told.
    public var counters: WriteCounters?

    /// A witness of these facts.
    public init(
        size: Int64?, inode: UInt64? = nil, born: Int64? = nil, modified: Int64? = nil,
        statusChanged: Int64? = nil, timesShowWrites: Bool = true, counters: WriteCounters? = nil
    ) {
        self.size = size
        self.inode = inode
        self.born = born
        self.modified = modified
        self.statusChanged = statusChanged
        self.timesShowWrites = timesShowWrites
        self.counters = counters
    }

    /// Nobody knows how the file was: something wrote it, and died or could not look at it again.
    public static let unknown = WriteWitness(size: nil)
}

/// How often a disk or partition has been written since the machine was started.
public struct WriteCounters: Hashable, Sendable, Codable {
    /// The kernel's name for the time since the machine was started: it counts from 0 each time.
    public var bootID: String
    /// Another number whenever another medium or device takes this place.
    public var diskSequence: UInt64?
    /// Requests that were completed, and their 512-byte sectors. Zeroing without data is a write.
    public var writes, sectorsWritten, discards, sectorsDiscarded: UInt64
    /// Sectors that were changed on the disk of a partition, and that none of its partitions
    /// counted: they were written through the node of the whole disk. Nil for a whole disk, and
    /// where the disk was too busy to tell.
    public var sectorsBesidePartitions: UInt64?
    /// Whether everything that changes content is counted. Not where I/O statistics are switched
    /// off (zram, which counts its writes all the same, does not count discards).
    public var isComplete: Bool

    /// Counters of these values.
    public init(
        bootID: String, diskSequence: UInt64?, writes: UInt64, sectorsWritten: UInt64,
        discards: UInt64, sectorsDiscarded: UInt64, sectorsBesidePartitions: UInt64? = nil,
        isComplete: Bool = true
    ) {
        self.bootID = bootID
        self.diskSequence = diskSequence
        self.writes = writes
        self.sectorsWritten = sectorsWritten
        self.discards = discards
        self.sectorsDiscarded = sectorsDiscarded
        self.sectorsBesidePartitions = sectorsBesidePartitions
        self.isComplete = isComplete
    }
}

/// What two looks at the same file or disk say about the time between them. The texts are phrases
/// that say what was seen.
public enum WriteEvidence: Hashable, Sendable {
    /// Everything that would have changed is as it was.
    case unchanged
    /// It was certainly written, or has another size.
    case written(String)
    /// The content is as it was; names, owner or times of the file were changed.
    case timesOnly(String)
    /// Nothing shows that it was written, and nothing that it was not.
    case unknown(String)
}

extension WriteWitness {
    /// What became of the storage between `earlier` and this look at it.
    ///
    /// Both have to be of the same file or disk: `DeviceIdentity.difference(from:)` tells.
    public func evidence(since earlier: WriteWitness) -> WriteEvidence {
        guard let sizeBefore = earlier.size else {
            return .unknown("a job died while it wrote there, or could not tell how it left it")
        }
        guard let size else { return .unknown("it can't be looked at any more") }
        if let other = replacement(of: earlier) {
            // Servers number their files anew with each mount.
            return timesShowWrites && earlier.timesShowWrites ? .written(other) : .unknown(other)
        }
        if size != sizeBefore {
            return .written("its size was \(sizeBefore) bytes, and is \(size) bytes")
        }
        if let modified, let before = earlier.modified, modified != before {
            return .written(
                "it was last written at \(UTCTime(modified)), and had been at \(UTCTime(before))")
        }
        let counted = countedEvidence(since: earlier)
        if case .written = counted { return counted }
        // The times of a file are moved by every write, also by those through a loop device.
        guard modified != nil, earlier.modified != nil else { return counted }
        guard timesShowWrites, earlier.timesShowWrites else {
            return .unknown("its times do not show everything that is written to it")
        }
        if let statusChanged, let before = earlier.statusChanged, statusChanged != before {
            return .timesOnly(
                "its names, owner or times were changed at \(UTCTime(statusChanged))")
        }
        return .unchanged
    }

    /// Whether it is from an earlier time than `earlier`. Nobody can set when a file last changed:
    /// its filesystem was brought back to an older state, or the clock was. When it was last
    /// written can be set, as who puts an older file in its place does (`cp -p`).
    public func wentBack(since earlier: WriteWitness) -> Bool {
        if let statusChanged, let before = earlier.statusChanged, statusChanged < before {
            return true
        }
        guard let modified, let before = earlier.modified else { return false }
        // A clock that is put right goes back a little, too.
        let (limit, isBeyond) = modified.addingReportingOverflow(1_000_000_000)
        return !isBeyond && limit < before
    }

    /// What shows that it is of another file, as a phrase; nil: nothing.
    private func replacement(of earlier: WriteWitness) -> String? {
        if let inode, let before = earlier.inode, inode != before {
            return "another file is in its place (inode \(inode), it was \(before))"
        }
        guard let born, let before = earlier.born, born != before else { return nil }
        return "it was removed and made anew at \(UTCTime(born))"
    }

    private func countedEvidence(since earlier: WriteWitness) -> WriteEvidence {
        guard let counters, let before = earlier.counters else {
            return .unknown("neither times nor counters show what is written to it")
        }
        guard counters.bootID == before.bootID else {
            return .unknown("the machine was started again, and its write counters with it")
        }
        guard counters.diskSequence == before.diskSequence else {
            return .unknown("the disk was taken away and added again, which resets its counters")
        }
        if let moved = counters.movement(since: before) { return .written(moved) }
        guard counters.isComplete, before.isComplete else {
            return .unknown("its write counters do not count everything that changes it")
        }
        guard counters.sectorsBesidePartitions == before.sectorsBesidePartitions else {
            return .unknown("its whole disk was written beside the partitions")
        }
        return .unchanged
    }
}

extension [WriteWitness] {
    /// What became of the files of one disk between `earlier` and this look at them.
    ///
    /// The first that was certainly written counts, then the first of which that can't be told.
    ///
    /// - Parameter names: of the files; nil: the texts name none. The text about the only file of a
    ///   disk does not, either.
    package func evidence(
        since earlier: [WriteWitness], names: [String]? = nil
    ) -> WriteEvidence {
        guard !earlier.isEmpty else { return .unknown("no earlier look at it is recorded") }
        guard !isEmpty else { return .unknown("nobody looks at it") }
        guard earlier.count == count else {
            return .written("it consisted of \(earlier.count) files, and has \(count)")
        }
        var found = WriteEvidence.unchanged
        for (index, (now, earlier)) in zip(self, earlier).enumerated() {
            let name = count == 1 ? nil : names?[index]
            let evidence = now.evidence(since: earlier).naming(name)
            switch (evidence, found) {
            case (.written, _): return evidence
            case (.unknown, .unchanged), (.unknown, .timesOnly), (.timesOnly, .unchanged):
                found = evidence
            default: break
            }
        }
        return found
    }

    /// Whether nobody knows how one of the files was.
    package var isIncomplete: Bool { isEmpty || contains { $0.size == nil } }

    /// Whether nothing was written between these and the later ones of the same files.
    package func isStillTrue(of later: [WriteWitness]) -> Bool {
        switch later.evidence(since: self) {
        case .unchanged, .timesOnly: true
        case .written, .unknown: false
        }
    }

    /// Whether nothing was written to the files meanwhile, but names, owner or times were changed.
    package func isTouched(in later: [WriteWitness]) -> Bool {
        if case .timesOnly = later.evidence(since: self) { true } else { false }
    }
}

extension WriteEvidence {
    /// The same, with the name of the file that it is of; nil: without.
    package func naming(_ name: String?) -> WriteEvidence {
        guard let name else { return self }
        return switch self {
        case .unchanged: self
        case .written(let how): .written("\(name): \(how)")
        case .timesOnly(let how): .timesOnly("\(name): \(how)")
        case .unknown(let why): .unknown("\(name): \(why)")
        }
    }
}

extension WriteCounters {
    /// What moved, as a phrase; nil if nothing did.
    fileprivate func movement(since before: WriteCounters) -> String? {
        let moved = [
            Self.movement("writes", writes, before.writes, sectorsWritten, before.sectorsWritten),
            Self.movement(
                "discards", discards, before.discards, sectorsDiscarded, before.sectorsDiscarded),
        ].compactMap(\.self)
        return moved.isEmpty ? nil : "the kernel counted " + moved.joined(separator: " and ")
    }

    private static func movement(
        _ name: String, _ now: UInt64, _ before: UInt64, _ sectors: UInt64, _ sectorsBefore: UInt64
    ) -> String? {
        // A flush counts as a write of no sectors.
        guard now < before || sectors != sectorsBefore else { return nil }
        // Within one boot they only grow, unless a driver resets them.
        guard now >= before, sectors >= sectorsBefore else {
            return "fewer \(name) than before (\(now) after \(before)), so that they were reset"
        }
        return "\(now - before) \(name) (\(sectors - sectorsBefore) sectors of 512 bytes)"
    }
}
