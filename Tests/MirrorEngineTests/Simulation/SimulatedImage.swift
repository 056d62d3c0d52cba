import BlockStorage
import Foundation
import SystemPackage

@testable import MirrorEngine

/// A target of the simulation, of which a test can ask what is on it.
protocol SimulatedTarget: TargetMap {
    var disks: [SimulatedDisk] { get }
    var files: [SimulatedFile] { get }
    /// The guest's bytes, as reads see them or as the next power cut leaves them.
    func bytes(durable: Bool) -> [UInt8]
    /// What its user did wrong.
    var violations: [String] { get }
    /// Whether the last thing that was done to it closed it in order.
    var isClosed: Bool { get }
}

extension SimulatedTarget {
    func bytes() -> [UInt8] { bytes(durable: false) }
    var violations: [String] { [] }
    var isClosed: Bool { true }
}

extension SimulatedMap: SimulatedTarget {}

/// An image that allocates, with old content behind it: what its table says becomes visible when
/// it was told that the bytes have come, and lasts when that was sealed, flushed and committed.
///
/// The table itself is not on the simulated disk. All workers use it, behind one lock.
final class SimulatedImage: SimulatedTarget, @unchecked Sendable {
    /// What a cluster is.
    enum Entry: Equatable {
        /// What is behind the image.
        case old
        case zero
        case data(Int)
    }

    let name = "target"
    let size: Int64
    let alignment: Int
    let unit: Int64
    let disk: SimulatedDisk
    /// Whether the table can say that a cluster is zero.
    let knowsZeros: Bool
    let controlFile = 1
    let zeroesPlaces = false
    let startsZero: Bool

    private let old: [UInt8]
    private let lock = NSLock()
    /// Places that were given and zeros that were wanted, and nobody has said that all has come.
    private var pending: [Int: Entry] = [:]
    /// Those of them that still have, where nothing arrives, what the disk had there before.
    private var unfilled: Set<Int> = []
    private var current: [Entry]
    private var sealed: (table: [Entry], mark: UInt64)?
    private var durable: [Entry]
    private var end: Int
    private var problems: [String] = []
    private var failingCommits = 0
    private var clustersLeft: Int?
    private var closed = false
    private var commitCount = 0

    /// - Parameters:
    ///   - old: the bytes behind it, which the guest's size is.
    ///   - entries: its clusters at the beginning, `.data` with any number for one of its own.
    init(
        old: [UInt8], own: [UInt8], entries: [Entry], clusterSize: Int, alignment: Int,
        knowsZeros: Bool = true, startsZero: Bool = false
    ) {
        self.old = old
        size = Int64(old.count)
        unit = Int64(clusterSize)
        self.alignment = alignment
        self.knowsZeros = knowsZeros
        self.startsZero = startsZero
        var image: [UInt8] = []
        current = entries.enumerated().map { index, entry in
            guard case .data = entry else { return entry }
            let part = own[(index * clusterSize)..<min((index + 1) * clusterSize, own.count)]
            defer { image += part + [UInt8](repeating: 0xEE, count: clusterSize - part.count) }
            return .data(image.count)
        }
        durable = current
        end = image.count
        let room = (4 * entries.count + 4) * clusterSize
        disk = SimulatedDisk(image + [UInt8](repeating: 0xEE, count: room))
    }

    // MARK: what tests ask of it

    var disks: [SimulatedDisk] { [disk] }

    var files: [SimulatedFile] {
        [alignment, 1].map {
            SimulatedFile(
                disk: disk, alignment: $0, blockSize: alignment, isTarget: true, isImage: true)
        }
    }

    var violations: [String] { lock.withLock { problems } }
    var isClosed: Bool { lock.withLock { closed } }
    var commits: Int { lock.withLock { commitCount } }

    /// There is room for so many clusters more.
    func limitClusters(to count: Int) { lock.withLock { clustersLeft = count } }

    func makeRoom() { lock.withLock { clustersLeft = nil } }

    /// So many commits from now on fail.
    func failCommits(_ count: Int) { lock.withLock { failingCommits = count } }

    func bytes(durable: Bool) -> [UInt8] {
        let image = durable ? disk.durableBytes : disk.visibleBytes
        return lock.withLock {
            (durable ? self.durable : current).indices.reduce(into: []) { bytes, index in
                bytes += content(index, (durable ? self.durable : current)[index], image)
            }
        }
    }

    /// Where the next cluster will be.
    var nextCluster: Int { lock.withLock { end } }

    func entry(_ index: Int) -> Entry { lock.withLock { current[index] } }

    // MARK: the map

    var endpoints: [Endpoint] { files.indices.map { .file(2000 + CInt($0)) } }

    private var tailStart: Int64 { size % Int64(alignment) == 0 ? size : size & ~4095 }

    func sizeChange() throws(StorageError) -> SizeChange? {
        guard disk.currentSize < disk.initialSize else { return nil }
        return SizeChange(from: size, to: Int64(disk.currentSize))
    }

    func readsAsZero(_ range: Range<Int64>) -> Bool {
        lock.withLock {
            clusters(range).allSatisfy { index in
                switch pending[index] ?? current[index] {
                case .zero: true
                case .data: false
                case .old: content(index, .old, []).allSatisfy { $0 == 0 }
                }
            }
        }
    }

    func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent {
        precondition(offset >= 0 && offset < limit && limit <= size)
        lock.lock()
        defer { lock.unlock() }
        if closed { problems.append("a place was asked for behind the end") }
        let index = Int(offset / unit)
        let start = Int64(index) * unit
        let isTail = offset >= tailStart
        let stop = min(limit, start + unit, isTail ? size : tailStart)
        let host = try place(index, covers: offset == start && limit >= min(start + unit, size))
        return HostExtent(
            file: isTail ? 1 : 0, hostOffset: Int64(host) + offset - start,
            length: stop - offset, alignment: isTail ? 1 : alignment)
    }

    /// A cluster of its own, filled with the old bytes unless all of it is going to be written. It
    /// has stale bytes of somebody else at first.
    private func place(_ index: Int, covers: Bool) throws(StorageError) -> Int {
        if case .data(let host) = pending[index] ?? current[index] { return host }
        try takeRoom(1)
        let host = end
        end += Int(unit)
        precondition(end <= disk.initialSize, "the simulated image is too small for the test")
        if covers {
            unfilled.insert(index)
        } else {
            let bytes = content(index, pending[index] ?? current[index], [])
            disk.fill(at: host, bytes + [UInt8](repeating: 0, count: Int(unit) - bytes.count))
        }
        pending[index] = .data(host)
        return host
    }

    /// A table that has to change may need a place as well.
    private func takeRoom(_ count: Int) throws(StorageError) {
        guard let left = clustersLeft else { return }
        guard left > 0 else {
            throw .systemCall(call: "ftruncate", path: FilePath(name), code: .noSpace, offset: 0)
        }
        clustersLeft = left - count
    }

    func zeroInMap(_ range: Range<Int64>) throws(StorageError) -> Int64 {
        lock.lock()
        defer { lock.unlock() }
        guard knowsZeros, range.lowerBound % unit == 0 else { return 0 }
        try takeRoom(0)
        var done = range.lowerBound
        while done < range.upperBound {
            let next = min(done + unit, size)
            if next > range.upperBound { break }
            pending[Int(done / unit)] = .zero
            unfilled.remove(Int(done / unit))
            done = next
        }
        return done - range.lowerBound
    }

    func wrote(_ range: Range<Int64>) {
        lock.withLock {
            for index in clusters(range) {
                if let entry = pending.removeValue(forKey: index) { current[index] = entry }
                unfilled.remove(index)
            }
        }
    }

    func lost(_ range: Range<Int64>) -> Range<Int64> {
        lock.withLock {
            var range = range
            for index in clusters(range) where unfilled.remove(index) != nil {
                pending[index] = nil
                let start = Int64(index) * unit
                range =
                    min(
                        range.lowerBound, start)..<max(range.upperBound, min(start + unit, size))
            }
            return range
        }
    }

    func seal() { lock.withLock { sealed = (current, disk.mark()) } }

    func commit(isFinal: Bool) throws(StorageError) {
        let fails = lock.withLock {
            guard let (table, mark) = sealed, !closed else {
                problems.append("a commit of what was not sealed")
                return true
            }
            if disk.lastFlush <= mark { problems.append("a commit without a flush before it") }
            sealed = nil
            failingCommits -= 1
            if failingCommits >= 0 { return true }
            durable = table
            commitCount += 1
            closed = isFinal
            return false
        }
        if fails { throw .systemCall(call: "pwrite", path: FilePath(name), code: .ioError) }
    }

    // MARK: the rest, with the lock held

    private func clusters(_ range: Range<Int64>) -> Range<Int> {
        Int(range.lowerBound / unit)..<Int((range.upperBound + unit - 1) / unit)
    }

    private func content(_ index: Int, _ entry: Entry, _ image: [UInt8]) -> [UInt8] {
        let start = index * Int(unit)
        let count = min(Int(unit), old.count - start)
        switch entry {
        case .old: return Array(old[start..<(start + count)])
        case .zero: return [UInt8](repeating: 0, count: count)
        case .data(let host): return Array(image[host..<(host + count)])
        }
    }
}
