import BlockStorage
import MirrorEngine
import Synchronization
import SystemPackage

/// Does something once, when a job has asked so many times where to write, or has flushed.
final class Tripwire: Sendable {
    private let left: Mutex<Int>
    private let action = Mutex<(@Sendable () throws(StorageError) -> Void)?>(nil)

    init(after count: Int) { left = Mutex(count) }

    func onTouch(_ body: @escaping @Sendable () throws(StorageError) -> Void) {
        action.withLock { $0 = body }
    }

    func touch() throws(StorageError) {
        let isNow = left.withLock { left in
            left -= 1
            return left == -1
        }
        guard isNow, let action = action.withLock({ $0 }) else { return }
        try action()
    }
}

/// A target that tells a tripwire of each place that is written to.
private struct WatchedMap: TargetMap {
    let map: any TargetMap
    let wire: Tripwire

    var name: String { map.name }
    var size: Int64 { map.size }
    var endpoints: [Endpoint] { map.endpoints }
    var alignment: Int { map.alignment }
    var unit: Int64 { map.unit }
    var controlFile: Int { map.controlFile }
    var startsZero: Bool { map.startsZero }
    var zeroesPlaces: Bool { map.zeroesPlaces }
    var zeroesRanges: Bool { map.zeroesRanges }

    func sizeChange() throws(StorageError) -> SizeChange? { try map.sizeChange() }
    func readsAsZero(_ range: Range<Int64>) -> Bool { map.readsAsZero(range) }
    func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent {
        try wire.touch()
        return try map.place(at: offset, limit: limit)
    }
    func zeroInMap(_ range: Range<Int64>) throws(StorageError) -> Int64 {
        try map.zeroInMap(range)
    }
    func wrote(_ range: Range<Int64>) { map.wrote(range) }
    func lost(_ range: Range<Int64>) -> Range<Int64> { map.lost(range) }
    func seal() { map.seal() }
    func commit(isFinal: Bool) throws(StorageError) {
        try map.commit(isFinal: isFinal)
        try wire.touch()
    }
}

extension Disk {
    /// The same disk, with a tripwire on its places.
    func watched(by wire: Tripwire) -> Disk {
        Disk(
            path: path, format: format, access: access, geometry: geometry, identity: identity,
            caching: caching, resolvedPath: resolvedPath, devices: devices,
            image: image, bitmaps: bitmaps,
            sourceMap: { self.sourceMap(size: $0) },
            targetMap: { (size) throws(StorageError) in
                guard let map = try self.targetMap(size: size) else {
                    preconditionFailure("a target can be written")
                }
                return WatchedMap(map: map, wire: wire)
            })
    }
}
