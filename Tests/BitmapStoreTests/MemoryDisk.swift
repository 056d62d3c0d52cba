import SystemPackage
import TestSupport

@testable import BitmapStore

/// A disk with one file that can lose its power, or a process that dies over it.
///
/// One thread uses it.
final class MemoryDisk: @unchecked Sendable {
    private(set) var file: VolatileFile
    var claims: Set<UInt64> = []
    /// Of the machine: another one after it was started anew.
    var bootID: String? = "first"
    var writtenBytes = 0
    var readBytes = 0
    /// Which call that changes or syncs fails, counted down; nil: none.
    var callsUntilFailure: Int?
    var failure = Errno.noSpace
    private(set) var failedSyncs: UInt64 = 0
    /// How many calls in a row fail.
    var failures = 1

    init(content: [UInt8] = []) { file = VolatileFile(content) }

    private init(_ file: VolatileFile) { self.file = file }

    var content: [UInt8] { file.content }
    var events: [VolatileFile.Event] { file.events }

    func startRecording() { file.startRecording() }

    func perform(_ event: VolatileFile.Event, call: String) throws(BitmapStoreError) {
        if let left = callsUntilFailure {
            if left <= 0, failures > 0 {
                failures -= 1
                if case .sync = event {
                    failedSyncs += 1
                    file.perform(.failedSync(seed: failedSyncs))
                }
                throw .systemCall(call: call, path: "/memory", code: failure)
            }
            callsUntilFailure = left - 1
        }
        if case .write(_, let bytes) = event { writtenBytes += bytes.count }
        file.perform(event)
    }

    /// The locks of the dead are gone.
    func afterKill(before count: Int) -> MemoryDisk {
        MemoryDisk(file.afterKill(before: count))
    }

    func afterPowerCut(keeping pattern: Int) -> MemoryDisk {
        MemoryDisk(content: file.afterPowerCut(keeping: pattern))
    }

    func afterPowerCut(percent: Int, using random: inout SeededGenerator) -> MemoryDisk {
        MemoryDisk(content: file.afterPowerCut(percent: percent, using: &random))
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

    var bootID: String? { disk.bootID }

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
        try disk.perform(.resize(Int(length)), call: "ftruncate")
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
