public import BlockStorage
public import DirtyBitmap
internal import SystemPackage

/// Several changes to the bitmaps of an image that are made together or not at all.
public struct BitmapTransaction: ~Copyable {
    /// Bits that are not in the image yet.
    final class Pending {
        var bits: DirtyBitmap
        init(_ bits: consuming DirtyBitmap) { self.bits = bits }
    }

    struct Slot {
        var entry: BitmapEntry
        /// As the image has it; nil: it is new.
        let before: BitmapEntry?
        /// Replace those in the image; nil: they stay.
        var pending: Pending?
    }

    let header: Header
    let file: any ImageFile
    /// As the image has it.
    let directory: BitmapDirectory
    var slots: [Slot]
    var removed: [BitmapEntry] = []

    init(_ header: Header, _ file: any ImageFile) throws(StorageError) {
        let directory = try BitmapDirectory.read(header, file)
        if let flaw = directory.flaw { throw .image(flaw) }
        self.header = header
        self.file = file
        self.directory = directory
        slots = directory.entries.map { Slot(entry: $0, before: $0) }
        checkInvariants()
    }

    var isChanged: Bool {
        !removed.isEmpty || slots.contains { $0.pending != nil || $0.before != $0.entry }
    }

    // MARK: Changes

    /// Adds a bitmap.
    ///
    /// - Parameter bits: what is dirty, of any granularity; nil: nothing.
    /// - Throws: an `ImageProblem` that is `refused` if there is one of that name already,
    ///   `unsupported` if the image, the name or the size allows no bitmap or `bits` are for a disk
    ///   of another size, `full` if there would be too many.
    public mutating func add(
        _ name: String, granularity: Granularity = .default, disabled: Bool = false,
        bits: borrowing DirtyBitmap? = nil
    ) throws(StorageError) {
        try requireRoom(name, granularity)
        var entry = BitmapEntry()
        entry.name = Array(name.utf8)
        entry.granularityBits = UInt8(granularity.shift)
        entry.flags = disabled ? [] : .auto
        slots.append(
            Slot(
                entry: entry, before: nil,
                pending: Pending(DirtyBitmap(size: header.size, granularity: granularity))))
        switch bits {
        case .some(let bits): try merge(bits, at: slots.count - 1)
        case nil: break
        }
        checkInvariants()
    }

    private func requireRoom(_ name: String, _ granularity: Granularity) throws(StorageError) {
        let path = file.path
        func refuse(
            _ kind: ImageProblem.Kind, _ what: String, _ remedy: Remedy, _ code: ErrorCode? = nil
        ) -> StorageError {
            .image(ImageProblem(kind, path, what, remedy: remedy, code: code))
        }
        if let flaw = ImageBitmapName.flaw(in: name) {
            throw refuse(
                .unsupported,
                "'\(BitmapEntry.shown(Array(name.utf8)))' can't be the name of a "
                    + "bitmap: \(flaw)", "Choose another one.", .invalidName)
        }
        guard header.version >= 3 else {
            throw refuse(
                .unsupported, "qcow2 version 2 has no bitmaps",
                "`qemu-img amend -o compat=1.1` makes version 3 of it.")
        }
        guard slots.allSatisfy({ $0.entry.name != Array(name.utf8) }) else {
            throw .image(.bitmapNameTaken(path, name: name))
        }
        guard header.size > 0 else {
            throw refuse(.unsupported, "a disk of 0 bytes can't have bitmaps", "Resize it first.")
        }
        let extent = BitmapExtent(header, granularityBits: UInt8(granularity.shift))
        guard !extent.isTooLarge else {
            throw refuse(
                .unsupported,
                "a bitmap of \(header.size) bytes at \(granularity) a bit takes more "
                    + "than \(BitmapExtent.bytesMax) bytes", "Use a larger granularity.")
        }
        guard slots.count < BitmapDirectory.countMax else {
            throw refuse(
                .full, "it has \(slots.count) bitmaps, and no more are possible",
                "Remove those that are no longer needed.")
        }
        let bytes = slots.reduce(0) { $0 + $1.entry.byteCount }
        guard bytes + BitmapEntry.fixedBytes + name.utf8.count + 7 <= BitmapDirectory.byteCountMax
        else {
            throw refuse(
                .full, "the directory of its bitmaps is full",
                "Remove those that are no longer needed.")
        }
    }

    /// Removes a bitmap, whatever its state.
    ///
    /// - Throws: an `ImageProblem` that is `missing`.
    public mutating func remove(_ name: String) throws(StorageError) {
        let name = Array(name.utf8)
        guard slots.contains(where: { $0.entry.name == name }) else { throw missing(name) }
        removed += slots.filter { $0.entry.name == name }.compactMap(\.before)
        slots.removeAll { $0.entry.name == name }
        checkInvariants()
    }

    /// Makes a bitmap say that nothing is dirty.
    ///
    /// - Throws: an `ImageProblem`: `missing`; `refused` if it is inconsistent.
    public mutating func clear(_ name: String) throws(StorageError) {
        let (index, granularity) = try usable(name)
        slots[index].pending = Pending(DirtyBitmap(size: header.size, granularity: granularity))
        checkInvariants()
    }

    /// Enables or disables a bitmap: whether it takes marks.
    ///
    /// - Throws: an `ImageProblem`: `missing`; `refused` if it is inconsistent.
    public mutating func setRecording(_ name: String, _ isRecording: Bool) throws(StorageError) {
        let (index, _) = try usable(name)
        if isRecording {
            slots[index].entry.flags.insert(.auto)
        } else {
            slots[index].entry.flags.remove(.auto)
        }
    }

    /// Marks dirty what other bitmaps of this image have dirty, rounding outward.
    ///
    /// - Throws: an `ImageProblem`: `missing`; `refused` if one of them is inconsistent.
    public mutating func merge(into name: String, from names: [String]) throws(StorageError) {
        let (index, _) = try usable(name)
        for source in names {
            let (other, _) = try usable(source)
            guard other != index else { continue }
            let bits = try pending(other).bits.copy()
            try merge(bits, at: index)
        }
    }

    /// Marks dirty what a bitmap from elsewhere has dirty, rounding outward; also in a disabled
    /// one.
    ///
    /// - Throws: an `ImageProblem`: `missing`; `refused` if it is inconsistent; `unsupported` if
    ///   `bits` are for a disk of another size.
    public mutating func merge(
        into name: String, bits: borrowing DirtyBitmap
    ) throws(StorageError) {
        let (index, _) = try usable(name)
        try merge(bits, at: index)
    }

    /// Makes a bitmap say what `bits` say, rounding outward.
    ///
    /// - Throws: as `merge(into:bits:)`.
    public mutating func store(
        _ name: String, _ bits: borrowing DirtyBitmap
    ) throws(StorageError) {
        try clear(name)
        try merge(into: name, bits: bits)
    }

    /// Marks clean what `bits` have dirty, rounding inward: what a mirror has copied.
    ///
    /// - Throws: as `merge(into:bits:)`.
    public mutating func subtract(
        _ name: String, _ bits: borrowing DirtyBitmap
    ) throws(StorageError) {
        let (index, _) = try usable(name)
        try requireSize(bits.size, at: index)
        guard !bits.isClean else { return }
        let pending = try loadPending(index)
        do throws(DirtyBitmapError) {
            try pending.bits.subtract(bits)
        } catch {
            preconditionFailure("the sizes were compared: \(error)")
        }
    }

    // MARK: Slots

    mutating func merge(_ bits: borrowing DirtyBitmap, at index: Int) throws(StorageError) {
        try requireSize(bits.size, at: index)
        guard !bits.isClean else { return }
        let pending = try loadPending(index)
        do throws(DirtyBitmapError) {
            try pending.bits.merge(bits)
        } catch {
            preconditionFailure("the sizes were compared: \(error)")
        }
    }

    /// The bits of a slot, to be changed.
    private mutating func loadPending(_ index: Int) throws(StorageError) -> Pending {
        let pending = try pending(index)
        slots[index].pending = pending
        return pending
    }

    /// The bits of a slot, as they are after what was done to them so far.
    func pending(_ index: Int) throws(StorageError) -> Pending {
        if let pending = slots[index].pending { return pending }
        let entry = slots[index].entry
        guard let granularity = entry.granularity else {
            preconditionFailure("bitmap \(entry.shownName) has a flaw: ask usable(_:) first")
        }
        return Pending(
            try BitmapBits(entry: entry, header: header, file: file).load(granularity))
    }

    /// - Returns: the slot of a bitmap whose bits are known.
    func usable(_ name: String) throws(StorageError) -> (index: Int, granularity: Granularity) {
        let name = Array(name.utf8)
        guard let index = slots.firstIndex(where: { $0.entry.name == name }) else {
            throw missing(name)
        }
        let entry = slots[index].entry
        return (index, try entry.requireUsable(file.path))
    }

    private func requireSize(_ size: Int64, at index: Int) throws(StorageError) {
        guard size == header.size else {
            throw .image(
                .bitmapSizesDiffer(
                    file.path, name: slots[index].entry.shownName, size: header.size, other: size))
        }
    }

    private func missing(_ name: [UInt8]) -> StorageError {
        .image(.noBitmap(file.path, name: BitmapEntry.shown(name), among: directory))
    }
}

extension BitmapTransaction {
    /// What every change leaves true, and a commit relies on. Complexity: O(bitmaps) in a debug
    /// build, nothing in a release build.
    func checkInvariants() {
        #if DEBUG
            var names: Set<[UInt8]> = []
            for slot in slots {
                assert(slot.before != nil || slot.pending != nil, "a new bitmap has no bits")
                if slot.entry.flaw == nil {
                    assert(names.insert(slot.entry.name).inserted, "two bitmaps have one name")
                }
                if let pending = slot.pending {
                    assert(pending.bits.size == header.size, "bits are for another disk")
                    assert(
                        pending.bits.granularity == slot.entry.granularity,
                        "bits have another granularity than the image will say")
                }
            }
            for entry in removed {
                assert(
                    !slots.contains { $0.before == entry },
                    "a bitmap is kept, and its clusters are freed")
            }
        #endif
    }
}
