internal import BlockStorage
internal import DirtyBitmap
internal import Ring

/// Runs that were read and turned out to be all zeros are held back for a while, so that neighbours
/// join into one large request to zero the target. They come back from the kernel in nearly the
/// order they were asked for, so a handful of open stretches is enough.
extension Worker where Queue: ~Copyable {
    /// Joined zeros go out when they are this large: the larger, the fewer waits of the file
    /// system, and the longer until progress shows.
    private static var heldBytesMax: Int { 256 << 20 }
    private static var heldStretchesMax: Int { 4 }

    /// Holds a run back if it was read, is all zeros, and the target has to be told.
    mutating func holdIfZero(_ index: SlotIndex) -> Bool {
        let slot = slots[index]
        guard plan.zeroes == .detect, slot.unreadable.isEmpty, !slot.isIncomplete,
            job.zeroing.current != .writeZeros || !plan.target.zeroesPlaces,
            isZeroInMemory(index, slot.range),
            !isZeroOnTarget(slot.range)
        else { return false }
        memory.release(slot.memory)
        slots[index].memory = 0..<0
        slots[index].isZero = true
        if !join(index) { held.append(index) }
        if held.count > Self.heldStretchesMax { enqueue(held.removeFirst()) }
        return true
    }

    /// Adds a run to a held stretch that it touches, whose slot then stands for both.
    private mutating func join(_ index: SlotIndex) -> Bool {
        let range = slots[index].range
        for (position, other) in held.enumerated() {
            let stretch = slots[other].range
            guard
                stretch.upperBound == range.lowerBound || range.upperBound == stretch.lowerBound
            else { continue }
            slots[other].range = stretch.spanning(range)
            slots[other].cursor = slots[other].range.lowerBound
            slots[index] = Slot()
            freeSlots.append(index)
            if slots[other].range.count >= Self.heldBytesMax { enqueue(held.remove(at: position)) }
            return true
        }
        return false
    }

    /// Lets everything go that is held back.
    mutating func releaseHeldZeros() {
        for index in held { enqueue(index) }
        held.removeAll(keepingCapacity: true)
    }
}
