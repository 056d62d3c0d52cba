// Whether two identities, told at different times, are those of the same storage.

extension DeviceIdentity {
    /// Why this cannot be the storage that `known` described, as one phrase that says what changed
    /// from what to what; nil if it is the same as far as can be known.
    ///
    /// Durable facts (worldwide name, serial and model, uuid, partition) decide where both have
    /// them. A disk without any is told by what lies under it (loop devices), else by its number
    /// and the kernel's sequence number of its medium, which last until the next boot at most.
    /// An image is told by its inode and when that was made, and where that is not known, by its
    /// filesystem's device: a disk that is plugged in again has another number. The size always
    /// counts. A copy of a whole filesystem has the same inodes; what was written to either since
    /// then, their times tell (`WriteWitness`).
    public func difference(from known: DeviceIdentity) -> String? {
        if isImage != known.isImage {
            return known.isImage
                ? "it was an image file, and is a disk"
                : "it was a disk, and is an image file"
        }
        if size != known.size {
            return Self.change("size", "\(known.size) bytes", "\(size) bytes")
        }
        return isImage ? imageDifference(from: known) : diskDifference(from: known)
    }

    package var isImage: Bool { deviceNumber == nil && inode != nil }

    private func imageDifference(from known: DeviceIdentity) -> String? {
        if let change = Self.change("inode", known.inode, inode) { return change }
        if let change = Self.remaking(known.birth, birth) { return change }
        if known.birth != nil, birth != nil { return nil }
        if let old = known.generation, let new = generation, old != new {
            return "it was removed and made anew (inode generation \(old), now \(new))"
        }
        // Filesystems on no single device (btrfs, tmpfs, overlay) get another number each time.
        guard let new = filesystemDevice, let old = known.filesystemDevice,
            !(new.isAnonymous && old.isAnonymous)
        else { return nil }
        return Self.change("filesystem's device", old, new)
    }

    private func diskDifference(from known: DeviceIdentity) -> String? {
        let durable = [
            (known.wwn != nil && wwn != nil, Self.change("worldwide name", known.wwn, wwn)),
            (known.serial != nil && serial != nil, serialDifference(from: known)),
            (known.uuid != nil && uuid != nil, Self.change("uuid", known.uuid, uuid)),
        ].filter(\.0)
        let partition =
            Self.change("partition", known.partition, partition)
            ?? Self.change("partition's first sector", known.partitionStart, partitionStart)
        if let change = durable.compactMap(\.1).first ?? partition { return change }
        guard durable.isEmpty else { return nil }
        if let old = known.backingDevice, let new = backingDevice {
            return backingDifference(from: known, old, new)
        }
        return Self.change("device number", known.deviceNumber, deviceNumber)
            ?? Self.change("disk sequence number", known.diskSequence, diskSequence)
    }

    private func serialDifference(from known: DeviceIdentity) -> String? {
        Self.change("serial", known.serial, serial) ?? Self.change("model", known.model, model)
    }

    private func backingDifference(
        from known: DeviceIdentity, _ old: DeviceNumber, _ new: DeviceNumber
    ) -> String? {
        if known.backingInode != backingInode {
            return Self.change(
                "inode of the backing file", known.backingInode.map(String.init) ?? "none",
                backingInode.map(String.init) ?? "none")
        }
        if let change = Self.remaking(known.backingBirth, backingBirth) {
            return "its backing file is another: " + change
        }
        if let change = Self.change(
            "offset in the backing file", known.backingOffset, backingOffset)
        {
            return change
        }
        // As for images.
        if known.backingBirth != nil, backingBirth != nil { return nil }
        if backingInode != nil, old.isAnonymous, new.isAnonymous { return nil }
        return Self.change("device of the backing file", old, new)
    }

    /// An inode that was made at another time belongs to another file. Nil as for `change`.
    private static func remaking(_ old: Int64?, _ new: Int64?) -> String? {
        guard let old, let new, old != new else { return nil }
        return "it was removed and made anew (made at \(UTCTime(old)), now \(UTCTime(new)))"
    }

    /// Nil if they are equal, or one is not known.
    private static func change<Fact: Equatable>(
        _ name: String, _ old: Fact?, _ new: Fact?
    ) -> String? {
        guard let old, let new, old != new else { return nil }
        return "its \(name) was \(old), and is \(new)"
    }
}
