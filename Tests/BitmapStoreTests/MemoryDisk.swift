import SystemPackage
import TestSupport

@testable import BitmapStore

/// A disk with one file that can lose its power, or a process that dies over it.
///
/// `content` is what processes see (the page cache), `durable` what was there at the last sync,
/// `pending` what happened since. One thread uses it.
final class MemoryDisk: @unchecked Sendable {
    enum Event {
        case write(offset: Int, bytes: [UInt8])
        case truncate(Int)
        case sync
        /// What was to be written is written or lost, by chance, and never tried again: the kernel
        /// takes it for written. Processes go on seeing it.
        case failedSync(seed: UInt64)
    }

    private(set) var content: [UInt8] = []
    private(set) var durable: [UInt8] = []
    private(set) var pending: [Event] = []
    /// Everything since the last `startRecording`.
    private(set) var events: [Event] = []
    private(set) var atStart: (durable: [UInt8], pending: [Event], content: [UInt8]) = ([], [], [])
    var claims: Set<UInt64> = []
    var writtenBytes = 0
    var readBytes = 0
    /// Which call that changes or syncs fails, counted down; nil: none.
    var callsUntilFailure: Int?
    var failure = Errno.noSpace
    private(set) var failedSyncs: UInt64 = 0
    /// How many calls in a row fail.
    var failures = 1

    init() {}

    init(content: [UInt8]) {
        self.content = content
        durable = content
    }

    private init(durable: [UInt8], pending: [Event], content: [UInt8]) {
        self.durable = durable
        self.pending = pending
        self.content = content
    }

    func startRecording() {
        events = []
        atStart = (durable, pending, content)
    }

    private func apply(_ event: Event) {
        switch event {
        case .write(let offset, let bytes):
            let end = offset + bytes.count
            if content.count < end {
                content += Array(repeating: 0, count: end - content.count)
            }
            content.replaceSubrange(offset..<end, with: bytes)
            pending.append(event)
        case .truncate(let length):
            if length < content.count { content.removeLast(content.count - length) }
            pending.append(event)
        case .sync:
            // Not all of `content`: what a sync that failed has lost stays lost.
            durable = afterPowerCut { _ in true }.content
            pending = []
        case .failedSync(let seed):
            var random = SeededGenerator(seed: seed)
            durable = afterPowerCut { _ in random.chance(percent: 50) }.content
            pending = []
        }
    }

    func perform(_ event: Event, call: String) throws(BitmapStoreError) {
        if let left = callsUntilFailure {
            if left <= 0, failures > 0 {
                failures -= 1
                if case .sync = event {
                    failedSyncs += 1
                    apply(.failedSync(seed: failedSyncs))
                    events.append(.failedSync(seed: failedSyncs))
                }
                throw .systemCall(call: call, path: "/memory", code: failure)
            }
            callsUntilFailure = left - 1
        }
        if case .write(_, let bytes) = event { writtenBytes += bytes.count }
        apply(event)
        events.append(event)
    }

    /// The disk as a process finds it that comes after one that was killed before its `count`-th
    /// recorded call. The locks of the dead are gone.
    func afterKill(before count: Int) -> MemoryDisk {
        let disk = MemoryDisk(
            durable: atStart.durable, pending: atStart.pending, content: atStart.content)
        for event in events.prefix(count) { disk.apply(event) }
        return disk
    }

    /// What the disk may hold after its power was cut now: any of the pending writes may be
    /// missing, or be there in part.
    func afterPowerCut(choosing choose: (_ sector: Bool) -> Bool) -> MemoryDisk {
        var result = durable
        for event in pending {
            switch event {
            case .write(let offset, let bytes):
                guard choose(false) else { continue }
                for start in stride(from: 0, to: bytes.count, by: 512) {
                    guard choose(true) else { continue }
                    let piece = bytes[start..<min(start + 512, bytes.count)]
                    let end = offset + start + piece.count
                    if result.count < end {
                        result += Array(repeating: 0, count: end - result.count)
                    }
                    result.replaceSubrange(offset + start..<end, with: piece)
                }
            case .truncate(let length):
                if choose(false), length < result.count {
                    result.removeLast(result.count - length)
                }
            case .sync, .failedSync: break
            }
        }
        return MemoryDisk(content: result)
    }
}

/// One open of that file.
final class MemoryFile: StoreFile, @unchecked Sendable {
    let path: FilePath = "/memory"
    let isWritable: Bool
    let disk: MemoryDisk

    init(_ disk: MemoryDisk, isWritable: Bool = true) {
        self.disk = disk
        self.isWritable = isWritable
    }

    func length() throws(BitmapStoreError) -> Int64 { Int64(disk.content.count) }

    func read(at offset: Int64, count: Int) throws(BitmapStoreError) -> [UInt8] {
        let end = Int(offset) + count
        guard end <= disk.content.count else {
            throw .truncated(path: path, length: Int64(disk.content.count), needed: Int64(end))
        }
        disk.readBytes += count
        return Array(disk.content[Int(offset)..<end])
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(BitmapStoreError) {
        try disk.perform(.write(offset: Int(offset), bytes: bytes), call: "write")
    }

    func sync() throws(BitmapStoreError) { try disk.perform(.sync, call: "fdatasync") }

    func truncate(to length: Int64) throws(BitmapStoreError) {
        try disk.perform(.truncate(Int(length)), call: "ftruncate")
    }

    func lock(_ mode: LockMode) throws(BitmapStoreError) {}
    func unlock() {}
    func remove() throws(BitmapStoreError) {}

    func claim(job id: UInt64) throws(BitmapStoreError) -> (any JobClaim)? {
        guard disk.claims.insert(id).inserted else { return nil }
        return MemoryClaim(disk: disk, id: id)
    }

    func isClaimed(job id: UInt64) throws(BitmapStoreError) -> Bool { disk.claims.contains(id) }
}

private final class MemoryClaim: JobClaim {
    private let disk: MemoryDisk
    private let id: UInt64

    init(disk: MemoryDisk, id: UInt64) {
        self.disk = disk
        self.id = id
    }

    deinit { disk.claims.remove(id) }
}
