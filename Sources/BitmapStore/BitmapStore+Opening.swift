public import BlockStorage
internal import DirtyBitmap
import Glibc
public import SystemPackage

extension BitmapStore {
    /// Opens a store.
    ///
    /// - Parameters:
    ///   - device: what the store must belong to; nil: whatever it belongs to, for listing.
    ///   - access: reading works on a read-only filesystem, and changes nothing.
    /// - Throws: `notFound`, and whatever is wrong with the file; nothing is written.
    /// - Complexity: O(tables): 32 blocks are read for 16 TiB at 64 KiB.
    public static func open(
        _ path: FilePath, for device: DeviceIdentity?, access: Access
    ) throws(BitmapStoreError) -> BitmapStore {
        try open(try DiskFile.open(path, access: access), for: device)
    }

    /// Makes an empty store, readable by its owner alone.
    ///
    /// - Throws: `alreadyExists` if there is anything at `path`.
    public static func create(
        _ path: FilePath, for device: DeviceIdentity
    ) throws(BitmapStoreError) -> BitmapStore {
        let file = try DiskFile.create(path) { file throws(BitmapStoreError) in
            try format(file, for: device)
        }
        return try open(file, for: device)
    }

    /// Opens the store for writing, or makes it if there is none. The state directory is made too;
    /// any other has to be there.
    public static func openOrCreate(
        _ path: FilePath, for device: DeviceIdentity
    ) throws(BitmapStoreError) -> BitmapStore {
        if path.removingLastComponent() == StorePlace.stateDirectory() {
            try StorePlace.makeDirectory(for: path)
        }
        // Another process may make or remove it between the look and the deed.
        for _ in 0..<16 {
            do throws(BitmapStoreError) {
                return try open(path, for: device, access: .readWrite)
            } catch {
                switch error {
                case .notFound: break
                case .vanished: continue
                default: throw error
                }
            }
            do throws(BitmapStoreError) {
                return try create(path, for: device)
            } catch {
                guard case .alreadyExists = error else { throw error }
            }
        }
        throw .vanished(path: path)
    }

    static func open(
        _ file: any StoreFile, for device: DeviceIdentity?, holder: JobHolder = .thisProcess(),
        clock: @escaping @Sendable () -> Int64 = StoreCalls.now
    ) throws(BitmapStoreError) -> BitmapStore {
        let store = BitmapStore(file: file, holder: holder, clock: clock)
        let known = try store.device()
        if let device {
            guard known.size == device.size else {
                throw .wrongSize(path: file.path, stored: known.size, actual: device.size)
            }
            if let difference = device.difference(from: known) {
                throw .wrongDevice(path: file.path, difference: difference)
            }
        }
        return store
    }

    /// Writes an empty store into an empty file; durable when it returns.
    static func format(
        _ file: any StoreFile, for device: DeviceIdentity
    ) throws(BitmapStoreError) {
        precondition(device.size >= 0, "a disk can't have \(device.size) bytes")
        let directory = Catalog(device: device).encoded()
        let blocks = directory.count.dividedRoundingUp(by: blockBytes)
        var random = SystemRandomNumberGenerator()
        let superblock = Superblock(
            generation: 1, uuid: (0..<16).map { _ in UInt8.random(in: 0 ... .max, using: &random) },
            deviceSize: device.size, blockCount: UInt64(Superblock.slotCount + blocks),
            directory: Reference(
                offset: UInt64(Superblock.slotCount * blockBytes),
                checksum: xxHash64(directory)),
            directoryLength: UInt64(directory.count))
        let slot =
            superblock.encoded()
            + Array(repeating: 0, count: blockBytes - Superblock.byteCount)
        let padding = Array(repeating: 0 as UInt8, count: blocks * blockBytes - directory.count)
        try file.write(slot + slot + directory + padding, at: 0)
        try file.sync()
    }
}

extension JobHolder {
    /// The process that we are.
    static func thisProcess() -> JobHolder {
        var command = "?"
        if let file = try? SystemCalls.open("/proc/self/comm", O_RDONLY),
            let bytes = try? SystemCalls.read(file.raw, at: 0, count: 64)
        {
            command = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
        return JobHolder(pid: Int(getpid()), command: command, startedAt: StoreCalls.now())
    }
}
