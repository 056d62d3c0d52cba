internal import Glibc
package import SystemPackage

/// The file of an image, for what is small: the tables by which a format finds its data.
///
/// Any thread may call it. Bulk data never goes through here: the ring moves it.
package protocol ImageFile: Sendable {
    /// For messages.
    var path: FilePath { get }
    var isWritable: Bool { get }
    /// Whether it is a disk, which never becomes longer or shorter.
    var isDisk: Bool { get }
    /// Bytes that the file has now; of a disk, all it can hold.
    func length() throws(StorageError) -> Int64
    /// Reads up to `count` bytes; fewer come only where the file ends.
    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8]
    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError)
    /// Brings what was written to stable storage. A failure is final: what was lost can't be
    /// known.
    func sync() throws(StorageError)
    /// Makes a file this long, with zeros where it grows. A disk is refused what it can't hold,
    /// and stays as it is.
    func resize(to length: Int64) throws(StorageError)
}

extension ImageFile {
    package var isDisk: Bool { false }

    /// Reads exactly `count` bytes: what lies behind the end of the file is zeros.
    package func readFilled(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = try read(at: offset, count: count)
        if bytes.count < count { bytes += [UInt8](repeating: 0, count: count - bytes.count) }
        return bytes
    }
}

/// The image file of an open device, through the page cache.
///
/// A target's data is written around the cache at the same time, so that no page may hold both:
/// only clusters of a page or more keep them apart.
package final class DeviceFile: ImageFile {
    private let device: StorageDevice

    package init(_ device: StorageDevice) { self.device = device }

    package var path: FilePath { device.path }
    package var isWritable: Bool { device.access == .readWrite }

    package var isDisk: Bool { device.kind != .image }

    package func length() throws(StorageError) -> Int64 { try device.currentSize() }

    package func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        try call("read", offset) { () throws(Errno) in
            try SystemCalls.read(device.bufferedDescriptor, at: offset, count: count)
        }
    }

    package func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        try call("write", offset) { () throws(Errno) in
            try SystemCalls.write(device.bufferedDescriptor, bytes, at: offset)
        }
    }

    package func sync() throws(StorageError) {
        try call("fdatasync") { () throws(Errno) in try SystemCalls.syncData(device.descriptor) }
    }

    package func resize(to length: Int64) throws(StorageError) {
        guard device.kind == .image else {
            guard length <= device.geometry.size else {
                throw .systemCall(call: "growing", path: path, code: .noSpace, offset: length)
            }
            return
        }
        try call("ftruncate", length) { () throws(Errno) in
            try SystemCalls.truncate(device.descriptor, to: length)
        }
    }

    private func call<Result>(
        _ name: String, _ offset: Int64? = nil, _ body: () throws(Errno) -> Result
    ) throws(StorageError) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            throw .systemCall(call: name, path: path, code: error, offset: offset)
        }
    }
}
