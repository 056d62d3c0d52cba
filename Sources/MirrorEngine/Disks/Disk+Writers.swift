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

    /// Who could have written one of its files without a note, or still could: a sentence; nil:
    /// nobody that was heard of.
    func possibleWriter() -> String? {
        for device in devices {
            if let who = device.possibleWriter() {
                return
                    "\(device.path) was opened by something else while the job ran: \(who); what "
                    + "comes by a mapping, libaio or a loop device is not told"
            }
        }
        return nil
    }

    /// Why nobody would notice another process that writes one of its files, as a sentence; nil: it
    /// is noticed.
    var blindnessToWriters: String? { devices.lazy.compactMap(\.blindnessToWriters).first }

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
