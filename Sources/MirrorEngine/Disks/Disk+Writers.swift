internal import BlockStorage

// Who else writes a disk that a job writes: all files that it consists of, one after the other.

extension Disk {
    /// From now on, other processes that write its files are noted. Once is enough.
    func watchWriters() {
        for device in devices where device.access == .readWrite { device.watchWriters() }
    }

    /// Throws if one has written since, as far as that is noted, or if the disk has another size
    /// than when it was opened.
    func requireUndisturbed() throws(MirrorError) {
        try requireSize()
        do throws(StorageError) {
            for device in devices { try device.requireNoOtherWriter() }
        } catch {
            throw .storage(error)
        }
    }

    /// A file in a format grows as it is written: its size says nothing.
    private func requireSize() throws(MirrorError) {
        guard image == nil else { return }
        let size: Int64
        do throws(StorageError) { size = try device.currentSize() } catch {
            throw .storage(error)
        }
        guard size == device.geometry.size else {
            throw .targetResized(target: path, from: device.geometry.size, to: size)
        }
    }

    /// Whether another process has written one of its files since `watchWriters`.
    var hasOtherWriter: Bool {
        do throws(StorageError) {
            for device in devices { try device.requireNoOtherWriter() }
            return false
        } catch {
            return true
        }
    }

    /// Ends the watch. What is known by now stays known.
    func endWatch() { for device in devices { device.endWatch() } }

    /// Throws if the storage can't have what a job has written: part of it was lost on the way
    /// there, or something else has written over it.
    func requireNothingLost() throws(MirrorError) {
        try flush()
        try requireUndisturbed()
    }
}
