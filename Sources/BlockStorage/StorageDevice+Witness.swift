internal import SystemPackage

extension StorageDevice {
    /// What tells a later look whether the storage was written in between. Asks anew each time.
    ///
    /// What the page cache still has is written first: it would move times and counters only later,
    /// when someone would take it for a new write.
    package func witness() -> WriteWitness { witness(.live) }

    func witness(_ view: SystemView) -> WriteWitness {
        witnessIfReached(view) ?? .unreached
    }

    /// The same; nil where it can't be asked, as when the server of a file has died.
    package func witnessIfReached(_ view: SystemView = .live) -> WriteWitness? {
        guard let seen = view.witness(of: descriptor, node) else { return nil }
        return hidesWrites ? seen.hidingWrites : seen
    }

    /// A look of which a write that follows shows.
    package func settledWitness() -> WriteWitness {
        let seen = SystemView.live.settledWitness(of: descriptor, node)
        return hidesWrites ? seen.hidingWrites : seen
    }
}

extension WriteWitness {
    /// What can't be looked at any more is not as it was.
    fileprivate static let unreached = WriteWitness(size: 0)

    /// The same for what can be written without moving its times.
    var hidingWrites: WriteWitness {
        var witness = self
        witness.timesShowWrites = false
        return witness
    }

    /// Waits until a write that follows moves the time that was seen.
    ///
    /// - Returns: whether that took any time.
    @discardableResult
    package func waitUntilWritesShow() -> Bool {
        modified.map { TimestampTick.pass(after: $0) } ?? false
    }
}

extension SystemView {
    /// What is known of an open disk or file; nil if it can't be asked.
    fileprivate func witness(of descriptor: Descriptor, _ node: NodeIdentity) -> WriteWitness? {
        if case .block(let number) = node {
            // What goes to a disk may be held back below it as well: only a flush goes so far.
            try? SystemCalls.sync(descriptor)
            guard let size = try? SystemCalls.blockDeviceSize(descriptor.raw) else { return nil }
            return witness(of: number, size: size)
        }
        SystemCalls.writeBack(descriptor)
        guard let status = try? SystemCalls.freshStatus(of: descriptor) else { return nil }
        let filesystem = try? Filesystem(magic: SystemCalls.filesystemMagic(descriptor))
        return WriteWitness(
            size: status.size, inode: status.inode, born: status.born,
            modified: status.modified, statusChanged: status.changed,
            timesShowWrites: filesystem?.timesShowWrites ?? true && !status.hasExtremeTime)
    }

    func settledWitness(of descriptor: Descriptor, _ node: NodeIdentity) -> WriteWitness {
        let first = witness(of: descriptor, node) ?? .unreached
        return first.waitUntilWritesShow() ? witness(of: descriptor, node) ?? .unreached : first
    }

    /// What sysfs says about the writes to a block device, and the file below a loop device.
    func witness(of number: DeviceNumber, size: Int64) -> WriteWitness {
        guard let disk = diskDirectory(of: number) else { return WriteWitness(size: size) }
        guard let backing = loopFile(disk: disk) else {
            return WriteWitness(size: size, counters: counters(of: number))
        }
        switch backing.identity {
        case .block(let below):
            // What is written beside the loop device counts too, and what goes through it as well.
            return witness(of: below, size: size)
        case .file, .other:
            // What is written to another partition moves the times of the file as well.
            if text("/sys/dev/block/\(number)/partition") != nil {
                var counters = counters(of: number)
                counters?.isComplete = false
                return WriteWitness(size: size, counters: counters)
            }
            if let status = backingStatus(backing) {
                return WriteWitness(
                    size: size, inode: status.inode, born: status.born,
                    modified: status.modified, statusChanged: status.changed,
                    timesShowWrites: filesystem(backing.path)?.timesShowWrites ?? true
                        && !status.hasExtremeTime,
                    counters: counters(of: number))
            }
            var counters = counters(of: number)
            // The file may have been written beside the loop device, and can't be found to ask.
            counters?.isComplete = false
            return WriteWitness(size: size, counters: counters)
        }
    }

    /// Nil without proc and sysfs.
    private func counters(of number: DeviceNumber) -> WriteCounters? {
        guard let bootID,
            let disk = diskDirectory(of: number),
            let own = statistics("/sys/dev/block/\(number)/stat")
        else { return nil }
        return WriteCounters(
            bootID: bootID, diskSequence: value(disk + "/diskseq").flatMap { UInt64($0) },
            writes: own.writes, sectorsWritten: own.sectorsWritten, discards: own.discards,
            sectorsDiscarded: own.sectorsDiscarded,
            sectorsBesidePartitions: text("/sys/dev/block/\(number)/partition") == nil
                ? nil : sectorsBesidePartitions(disk: disk),
            isComplete: self.number(disk + "/queue/iostats") == 1)
    }

    /// A disk counts what goes to its partitions as well as what goes to its own node. The files
    /// can't be read at one time, so they are read until two readings agree.
    private func sectorsBesidePartitions(disk: String) -> UInt64? {
        var last: [Statistics]?
        for _ in 0..<4 {
            let partitions = entries(disk).filter { text("\(disk)/\($0)/partition") != nil }
            let readings = ([disk] + partitions.map { "\(disk)/\($0)" }).map {
                statistics($0 + "/stat")
            }
            guard !readings.contains(where: { $0 == nil }) else { return nil }
            let now = readings.compactMap(\.self)
            if now == last, let whole = now.first {
                return now.dropFirst().reduce(whole.changes) { $0 &- $1.changes }
            }
            last = now
        }
        return nil
    }

    private struct Statistics: Equatable {
        let writes, sectorsWritten, discards, sectorsDiscarded: UInt64
        var changes: UInt64 { sectorsWritten &+ sectorsDiscarded }
    }

    private func statistics(_ path: String) -> Statistics? {
        guard let fields = text(path)?.split(whereSeparator: \.isWhitespace).map({ UInt64($0) }),
            fields.count >= 7, let writes = fields[4], let sectorsWritten = fields[6]
        else { return nil }
        // Discards are counted since Linux 4.18.
        guard fields.count >= 14, let discards = fields[11], let sectors = fields[13] else {
            return nil
        }
        return Statistics(
            writes: writes, sectorsWritten: sectorsWritten, discards: discards,
            sectorsDiscarded: sectors)
    }
}
