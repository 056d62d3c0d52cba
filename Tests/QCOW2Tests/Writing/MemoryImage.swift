import BlockStorage
import SystemPackage
import TestSupport

/// A file in memory whose machine can lose its power.
///
/// `content` is what processes see, `durable` what was there at the last sync, `pending` what
/// happened since. One thread uses it.
final class MemoryImage: ImageFile, @unchecked Sendable {
    enum Event {
        case write(offset: Int, bytes: [UInt8])
        case resize(Int)
        case sync
        /// The test's own: something has been promised from here on.
        case mark(Int)
    }

    let path: FilePath = "/memory"
    let isWritable = true
    private(set) var content: [UInt8]
    private(set) var events: [Event] = []
    private(set) var syncs = 0
    private(set) var writes = 0
    /// Fails so many calls from now; nil: none.
    var callsUntilFailure: Int?
    /// Bytes that the file may have at most.
    var limit = Int.max
    var isDisk = false
    /// What others do while the file is synced. Not while it does that itself.
    var duringSync: (() throws -> Void)?

    init(_ content: [UInt8] = []) { self.content = content }

    func length() throws(StorageError) -> Int64 { Int64(content.count) }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        let start = min(Int(offset), content.count)
        return Array(content[start..<min(start + count, content.count)])
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        writes += 1
        try record(.write(offset: Int(offset), bytes: bytes))
    }

    func sync() throws(StorageError) {
        syncs += 1
        if let others = duringSync {
            duringSync = nil
            do { try others() } catch {
                throw .systemCall(call: "sync", path: path, code: .ioError)
            }
            duringSync = others
        }
        try record(.sync)
    }

    func resize(to length: Int64) throws(StorageError) { try record(.resize(Int(length))) }

    func mark(_ number: Int) { events.append(.mark(number)) }

    private func record(_ event: Event) throws(StorageError) {
        if let left = callsUntilFailure {
            guard left > 0 else {
                throw .systemCall(call: "write", path: path, code: .ioError)
            }
            callsUntilFailure = left - 1
        }
        if Self.end(of: event) > limit {
            throw .systemCall(call: "write", path: path, code: .noSpace)
        }
        events.append(event)
        Self.apply(event, to: &content)
    }

    /// How long the file has to be for it.
    private static func end(of event: Event) -> Int {
        switch event {
        case .write(let offset, let bytes): offset + bytes.count
        case .resize(let length): length
        case .sync, .mark: 0
        }
    }

    static func apply(_ event: Event, to content: inout [UInt8]) {
        switch event {
        case .write(let offset, let bytes):
            let end = offset + bytes.count
            if content.count < end {
                content += [UInt8](repeating: 0, count: end - content.count)
            }
            content.replaceSubrange(offset..<end, with: bytes)
        case .resize(let length):
            if length < content.count {
                content.removeLast(content.count - length)
            } else {
                content += [UInt8](repeating: 0, count: length - content.count)
            }
        case .sync, .mark: break
        }
    }
}

/// What a disk may hold after its power was cut at some point of a history.
struct PowerCut {
    private var durable: [UInt8]
    private var pending: [MemoryImage.Event] = []

    init(_ start: [UInt8]) { durable = start }

    mutating func advance(_ event: MemoryImage.Event) {
        if case .sync = event {
            for event in pending { MemoryImage.apply(event, to: &durable) }
            pending = []
        } else {
            pending.append(event)
        }
    }

    /// Everything that was written is there, as after the death of a process.
    var everything: [UInt8] {
        var result = durable
        for event in pending { MemoryImage.apply(event, to: &result) }
        return result
    }

    /// Of what was not synced, some is there: sector by sector.
    func some(percent: Int, _ random: inout SeededGenerator) -> [UInt8] {
        var result = durable
        for event in pending {
            guard case .write(let offset, let bytes) = event else {
                if random.chance(percent: percent) { MemoryImage.apply(event, to: &result) }
                continue
            }
            for start in stride(from: 0, to: bytes.count, by: 512) {
                guard random.chance(percent: percent) else { continue }
                let piece = Array(bytes[start..<min(start + 512, bytes.count)])
                MemoryImage.apply(.write(offset: offset + start, bytes: piece), to: &result)
            }
        }
        return result
    }

    var pendingCount: Int { pending.count }
}
