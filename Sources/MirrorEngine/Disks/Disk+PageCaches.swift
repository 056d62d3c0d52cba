internal import BlockStorage

// What lies between a disk and its storage: all files that it consists of, one after the other.

extension Disk {
    /// Brings what anything has written to it to stable storage.
    func flush() throws(MirrorError) {
        do throws(StorageError) { for device in devices { try device.flush() } } catch {
            throw .storage(error)
        }
    }

    /// Makes what is read of it next come from the storage.
    func readAnew() { for device in devices { device.readAnew() } }

    /// Whether its page caches can be written back range by range.
    var canWriteBack: Bool { devices.allSatisfy { $0.canWriteBack() } }
}
