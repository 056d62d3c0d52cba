internal import Glibc
internal import Synchronization
internal import SystemPackage

/// The words of a map of the kernel, in this process's memory. The kernel marks them meanwhile, and
/// so may others who have mapped them.
@safe final class MappedWords: @unchecked Sendable {
    let count: Int
    private let mapping: Mapping
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init(ofMap descriptor: CInt, count: Int) throws(TrackingError) {
        mapping = try Mapping(descriptor, byteCount: count * 8)
        self.count = count
        // An atomic has the layout of its value, and the kernel's values are plain ones.
        unsafe words = mapping.start.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    func load(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < count, "there is no such word")
        return unsafe words[index].load(ordering: .acquiring)
    }

    func set(_ mask: UInt64, in index: Int) {
        precondition(index >= 0 && index < count, "there is no such word")
        unsafe words[index].bitwiseOr(mask, ordering: .sequentiallyConsistent)
    }

    /// Clears bits. What this thread reads from the disk after it, it reads after it: a full
    /// barrier.
    func clear(_ mask: UInt64, in index: Int) {
        precondition(index >= 0 && index < count, "there is no such word")
        unsafe words[index].bitwiseAnd(~mask, ordering: .sequentiallyConsistent)
    }
}

/// A map of the kernel in memory.
@safe final class Mapping: @unchecked Sendable {
    let start: UnsafeMutableRawPointer
    private let length: Int

    init(_ descriptor: CInt, byteCount: Int) throws(TrackingError) {
        let page = Int(getpagesize())
        let length = (byteCount + page - 1) / page * page
        self.length = length
        let place = unsafe mmap(
            nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let place = unsafe place, unsafe place != MAP_FAILED else {
            throw .system(call: "mmap", path: "bpf", code: Errno(rawValue: errno))
        }
        unsafe start = place
    }

    deinit { unsafe _ = munmap(start, length) }
}
