internal import BlockStorage

// Who else writes what a job writes: those of its files that are open for writing.

extension Sequence<StorageDevice> {
    /// From now on, other processes that write the files are noted. Once is enough.
    func watchWriters() {
        for device in self where device.access == .readWrite { device.watchWriters() }
    }

    /// Throws if one has written since, as far as that is noted.
    func requireNoOtherWriter() throws(MirrorError) {
        do throws(StorageError) {
            for device in self { try device.requireNoOtherWriter() }
        } catch {
            throw .storage(error)
        }
    }

    /// All of each is compared from now on, with what it should have.
    func beginComparison() { for device in self { device.beginComparison() } }

    /// What is not known of others who may have written them since `watchWriters`.
    ///
    /// - Parameter compared: all was found right since `beginComparison`.
    func doubtsAboutWriters(compared: Bool = false) -> [MirrorEvidence] {
        var doubts: [MirrorEvidence] = []
        for device in self {
            if let why = device.blindnessToWriters { doubts.append(.writersUnseen(why)) }
            guard let who = device.possibleWriter(compared: compared) else { continue }
            let how =
                "\(device.path) was opened by something else while the job ran: \(who); what "
                + "comes by a mapping, libaio or a loop device is not told"
            doubts.append(.targetOpened(how))
        }
        return doubts
    }

    /// Whether another process has written one of them since `watchWriters`.
    var hasOtherWriter: Bool {
        do throws(MirrorError) { try requireNoOtherWriter() } catch { return true }
        return false
    }

    /// Whether another process has written one of them, or may have.
    var mayHaveOtherWriter: Bool { hasOtherWriter || doubtsAboutWriters().opening != nil }

    /// Ends the watch. What is known by now stays known.
    func endWatch() { for device in self { device.endWatch() } }
}

extension Disk {
    /// Throws if the storage can't have what a job has written: part of it was lost on the way
    /// there, or something else has written over it.
    func requireNothingLost() throws(MirrorError) {
        try flush()
        try devices.requireNoOtherWriter()
    }
}

extension [MirrorEvidence] {
    /// How something else had a target open, as a sentence; nil: nothing had.
    var opening: String? {
        for case .targetOpened(let how) in self { return how }
        return nil
    }
}
