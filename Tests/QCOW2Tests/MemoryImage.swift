import BlockStorage
import Foundation
import SystemPackage
import TestSupport

/// The file of an image, in memory. It can lose its power. One thread uses it.
final class MemoryImage: ImageFile, @unchecked Sendable {
    let path: FilePath = "/memory"
    let isWritable = true
    private(set) var file: VolatileFile
    private(set) var syncs = 0
    private(set) var writes = 0
    private(set) var largestRead = 0
    /// How many calls still succeed; nil: all.
    var callsUntilFailure: Int?
    private var failedSyncs: UInt64 = 0
    /// Bytes that the file may have at most.
    var limit = Int.max
    var isDisk = false
    /// What others do while the file is synced. Not while it does that itself.
    var duringSync: (() throws -> Void)?

    init(_ content: [UInt8] = []) { file = VolatileFile(content) }

    private init(_ file: VolatileFile) { self.file = file }

    convenience init(path: String) throws {
        self.init(Array(try Data(contentsOf: URL(fileURLWithPath: path))))
    }

    func save(_ path: String) throws {
        try Data(content).write(to: URL(fileURLWithPath: path))
    }

    var content: [UInt8] { file.content }
    var events: [VolatileFile.Event] { file.events }

    func startRecording() { file.startRecording() }

    func mark(_ number: Int) { file.perform(.mark(number)) }

    /// Changes what is there, durably, and is none of the calls that are counted or fail.
    func poke(_ bytes: [UInt8], at offset: Int) {
        precondition(offset + bytes.count <= content.count, "a poke behind the end")
        file.perform(.write(offset: offset, bytes: bytes))
        file.perform(.sync)
    }

    func afterKill(before count: Int) -> MemoryImage {
        MemoryImage(file.afterKill(before: count))
    }

    func afterPowerCut(keeping pattern: Int) -> MemoryImage {
        MemoryImage(file.afterPowerCut(keeping: pattern))
    }

    func afterPowerCut(percent: Int, using random: inout SeededGenerator) -> MemoryImage {
        MemoryImage(file.afterPowerCut(percent: percent, using: &random))
    }

    private func perform(
        _ event: VolatileFile.Event, _ call: String, needing length: Int = 0
    ) throws(StorageError) {
        if let left = callsUntilFailure {
            guard left > 0 else {
                if case .sync = event {
                    failedSyncs += 1
                    file.perform(.failedSync(seed: failedSyncs))
                }
                throw .systemCall(call: call, path: path, code: .ioError)
            }
            callsUntilFailure = left - 1
        }
        if length > limit { throw .systemCall(call: call, path: path, code: .noSpace) }
        file.perform(event)
    }

    // MARK: ImageFile

    func length() throws(StorageError) -> Int64 { Int64(content.count) }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        largestRead = max(largestRead, count)
        let start = min(Int(offset), content.count)
        return Array(content[start..<min(start + count, content.count)])
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        writes += 1
        let offset = Int(offset)
        try perform(
            .write(offset: offset, bytes: bytes), "write", needing: offset + bytes.count)
    }

    func sync() throws(StorageError) {
        syncs += 1
        if let others = duringSync {
            duringSync = nil
            do { try others() } catch {
                throw .systemCall(call: "fdatasync", path: path, code: .ioError)
            }
            duringSync = others
        }
        try perform(.sync, "fdatasync")
    }

    func resize(to length: Int64) throws(StorageError) {
        try perform(.resize(Int(length)), "ftruncate", needing: Int(length))
    }
}
