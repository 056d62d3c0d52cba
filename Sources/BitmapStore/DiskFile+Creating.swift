internal import BlockStorage
import Glibc
internal import SystemPackage

extension DiskFile {
    /// Readable and writable by its owner alone: it names serial numbers and paths.
    private static let mode: UInt32 = 0o600

    /// Makes a file with a name of its own, lets `fill` write it, and gives it its name when it is
    /// whole and durable: there is never half a store under `path`.
    ///
    /// - Throws: `alreadyExists` if there is something at `path`, whatever it is.
    static func create(
        _ path: FilePath, fill: (DiskFile) throws(BitmapStoreError) -> Void
    ) throws(BitmapStoreError) -> DiskFile {
        let (directory, name) = try StoreDirectory.open(of: path)
        // Short, so that a long name does not become too long.
        let temporary = FilePath(
            ".ringmirror-" + String(UInt64.random(in: 0 ... .max), radix: 36) + ".new")
        let descriptor: Descriptor
        do throws(Errno) {
            descriptor = try SystemCalls.open(
                temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, mode: mode,
                in: directory.raw)
        } catch {
            throw .systemCall(call: "making the store", path: path, code: error)
        }
        let file = DiskFile(path: path, descriptor: descriptor, isWritable: true)
        do throws(BitmapStoreError) {
            try fill(file)
            // From the rename on others can open it; they have to wait until it is durable.
            try file.lock(.exclusive)
        } catch {
            try? SystemCalls.unlink(temporary, in: directory)
            throw error
        }
        defer { file.unlock() }
        var current = temporary
        do throws(Errno) {
            try SystemCalls.sync(descriptor)
            try StoreCalls.renameNew(temporary, to: name, in: directory)
            current = name
            try SystemCalls.sync(directory)
            return file
        } catch {
            // Nobody else has had the lock, so that nothing is in it.
            try? SystemCalls.unlink(current, in: directory)
            if error == .fileExists { throw .alreadyExists(path: path) }
            throw .systemCall(call: "making the store", path: path, code: error)
        }
    }
}
