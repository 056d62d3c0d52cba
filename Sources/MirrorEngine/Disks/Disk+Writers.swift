internal import BlockStorage

// Who else writes a disk that a job writes: all files that it consists of, one after the other.

extension Disk {
    /// From now on, other processes that write its files are noted. Once is enough.
    func watchWriters() {
        for device in devices where device.access == .readWrite { device.watchWriters() }
    }

    /// Throws if one has written since, as far as that is noted.
    func requireNoOtherWriter() throws(MirrorError) {
        do throws(StorageError) {
            for device in devices { try device.requireNoOtherWriter() }
        } catch {
            throw .storage(error)
        }
    }

    /// All of it is compared from now on, with what it should have.
    func beginComparison() { for device in devices { device.beginComparison() } }

    /// What is not known of others who may have written it since `watchWriters`.
    ///
    /// - Parameter compared: all of it was found right since `beginComparison`.
    func doubtsAboutWriters(compared: Bool = false) -> [MirrorEvidence] {
        for device in devices {
            if let why = device.blindnessToWriters { return [.writersUnseen(why)] }
        }
        for device in devices {
            guard let who = device.possibleWriter(compared: compared) else { continue }
            let how =
                "\(device.path) was opened by something else while the job ran: \(who); what "
                + "comes by a mapping, libaio or a loop device is not told"
            return [.targetOpened(how)]
        }
        return []
    }

    /// Whether another process has written one of its files since `watchWriters`.
    var hasOtherWriter: Bool {
        do throws(MirrorError) { try requireNoOtherWriter() } catch { return true }
        return false
    }

    /// Ends the watch. What is known by now stays known.
    func endWatch() { for device in devices { device.endWatch() } }

    /// Throws if the storage can't have what a job has written: part of it was lost on the way
    /// there, or something else has written over it.
    func requireNothingLost() throws(MirrorError) {
        try flush()
        try requireNoOtherWriter()
    }
}
