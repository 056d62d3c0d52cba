internal import BlockStorage
import Glibc
internal import SystemPackage

extension DiskFile {
    /// Readable and writable by its owner alone: it names serial numbers and paths.
    private static let mode: UInt32 = 0o600

    /// Makes a file, lets `fill` write it, and gives it its name when it is whole and durable:
    /// there is never half a store under `path`. A process that is killed before leaves nothing; on
    /// filesystems that know no files without a name, one of another name.
    ///
    /// - Throws: `alreadyExists` if there is something at `path`, whatever it is.
    static func create(
        _ path: FilePath, fill: (DiskFile) throws(BitmapStoreError) -> Void
    ) throws(BitmapStoreError) -> DiskFile {
        let (directory, name) = try StoreDirectory.open(of: path)
        if let unnamed = try? SystemCalls.openUnnamed(mode: mode, in: directory) {
            let maker = StoreMaker(path: path, name: name, directory: directory, temporary: nil)
            if let file = try maker.make(unnamed, fill) { return file }
        }
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
        let maker = StoreMaker(path: path, name: name, directory: directory, temporary: temporary)
        guard let file = try maker.make(descriptor, fill) else {
            preconditionFailure("a file that has a name can be renamed or not")
        }
        return file
    }
}

/// Fills a new file, and gives it the name of a store.
private struct StoreMaker {
    let path: FilePath
    let name: FilePath
    let directory: Descriptor
    /// What the file is called until it is whole; nil if it has no name.
    let temporary: FilePath?

    /// - Returns: nil if a file without a name can't get one here, which leaves nothing.
    func make(
        _ descriptor: Descriptor, _ fill: (DiskFile) throws(BitmapStoreError) -> Void
    ) throws(BitmapStoreError) -> DiskFile? {
        let file = DiskFile(path: path, descriptor: descriptor, isWritable: true)
        do throws(BitmapStoreError) {
            try fill(file)
            // From the moment it has its name others can open it; they have to wait until it is
            // durable.
            try file.lockNew()
        } catch {
            remove(temporary)
            throw error
        }
        defer { file.unlock() }
        do throws(Errno) {
            try SystemCalls.sync(descriptor)
        } catch {
            remove(temporary)
            throw failure(error)
        }
        guard try giveName(descriptor) else { return nil }
        do throws(Errno) {
            try SystemCalls.sync(directory)
        } catch {
            // Nobody else has had the lock, so that nothing is in it.
            remove(name)
            throw failure(error)
        }
        return file
    }

    /// - Returns: false if it can't be done to a file without a name.
    private func giveName(_ descriptor: Descriptor) throws(BitmapStoreError) -> Bool {
        do throws(Errno) {
            if let temporary {
                try StoreCalls.renameNew(temporary, to: name, in: directory)
            } else {
                try SystemCalls.link(descriptor, as: name, in: directory)
            }
            return true
        } catch {
            if error == .fileExists {
                remove(temporary)
                throw .alreadyExists(path: path)
            }
            // What is wrong with the name or the place shows itself the other way too.
            guard temporary != nil else { return false }
            remove(temporary)
            throw failure(error)
        }
    }

    private func failure(_ code: Errno) -> BitmapStoreError {
        .systemCall(call: "making the store", path: path, code: code)
    }

    private func remove(_ name: FilePath?) {
        if let name { try? SystemCalls.unlink(name, in: directory) }
    }
}
