package import BlockStorage
package import DirtyBitmap
internal import Synchronization
internal import SystemPackage

// What whoever writes to the disk in the image owes its bitmaps: to mark them before the first
// write, so that they are not trusted if he dies, and to tell them at the end what was written.

extension ImageBitmaps {
    /// Marks every enabled bitmap as in use, on stable storage. To be called before the first write
    /// to the disk; `store(changed:)` ends it.
    ///
    /// The directory changes where it is: between two writes of the header there are no bitmaps, so
    /// that half a directory is seen by nobody. What can't be used, and is enabled, is marked as
    /// well, and stays so: its bits miss what is written now.
    ///
    /// - Throws: an `ImageProblem` that is `malformed` if the directory is broken, so that nobody
    ///   can tell which bitmaps there are: the disk must not be written then.
    package func markInUse() throws(StorageError) {
        try recording.withLock { own throws(StorageError) in
            precondition(own == nil, "markInUse was called before: store(changed:) comes first")
            let writer = try requireWriter()
            var header = writer.header
            let directory = try BitmapDirectory.read(header, file)
            if let flaw = directory.flaw { throw .image(flaw) }
            var entries = directory.entries
            var names: [[UInt8]] = []
            for index in entries.indices where entries[index].isEnabled && !entries[index].isInUse {
                entries[index].flags.insert(.inUse)
                if entries[index].flaw == nil { names.append(entries[index].name) }
            }
            if entries != directory.entries {
                header.autoclear.remove(.bitmaps)
                try writer.update(header)
                try file.write(BitmapDirectory.encoded(entries), at: directory.offset)
                // The file is flushed before the header is written, and after it.
                header = writer.header
                header.autoclear.insert(.bitmaps)
                try writer.update(header)
            }
            own = names
        }
    }

    /// Whether `markInUse` was called, and `store(changed:)` has not ended it.
    package var isMarkedInUse: Bool { recording.withLock { $0 != nil } }

    /// Marks in every enabled bitmap what was written since `markInUse`, and makes them trusted
    /// again. To be called when all that was written to the disk is on stable storage.
    ///
    /// If it throws, the bitmaps stay in use: it can be tried again, or they are inconsistent.
    ///
    /// - Parameter changed: of the size of the disk, at any granularity.
    package func store(changed: borrowing DirtyBitmap) throws(StorageError) {
        try recording.withLock { own throws(StorageError) in
            guard let names = own else {
                preconditionFailure("markInUse comes before the first write")
            }
            let writer = try requireWriter()
            if !names.isEmpty {
                var transaction = try BitmapTransaction(writer.header, file)
                for index in transaction.slots.indices {
                    let entry = transaction.slots[index].entry
                    guard names.contains(entry.name), entry.isInUse else { continue }
                    transaction.slots[index].entry.flags.remove(.inUse)
                    try transaction.merge(changed, at: index)
                }
                _ = try transaction.commit(writer)
            }
            own = nil
        }
    }
}
