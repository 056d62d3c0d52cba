internal import BlockStorage
internal import Synchronization
internal import SystemPackage

/// The file of an image that is written: after one lost write it takes no others.
///
/// The system tells of a loss once. The next flush succeeds, and whoever believed it would have
/// tables lead to what never came to the disk. So every later change fails as the first one did;
/// reading goes on.
///
/// A full disk is no loss: a write that found no space may be made again, and nothing may refer to
/// what it writes before that has been done in full. Of the header alone nobody knows then which
/// one is there. Making a file longer or shorter loses nothing either.
final class LatchedFile: ImageFile {
    private let file: any ImageFile
    private let failure = Mutex<StorageError?>(nil)

    /// Whoever has the file of another writer shares what became of it.
    static func over(_ file: any ImageFile) -> LatchedFile {
        file as? LatchedFile ?? LatchedFile(file)
    }

    private init(_ file: any ImageFile) { self.file = file }

    var path: FilePath { file.path }
    var isWritable: Bool { file.isWritable }
    var isDisk: Bool { file.isDisk }

    /// Throws what was lost, if anything was.
    func requireSound() throws(StorageError) {
        if let error = failure.withLock({ $0 }) { throw error }
    }

    func length() throws(StorageError) -> Int64 { try file.length() }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        try file.read(at: offset, count: count)
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        try requireSound()
        do throws(StorageError) {
            try file.write(bytes, at: offset)
        } catch {
            throw error.isFull && offset != 0 ? error : latch(error)
        }
    }

    func sync() throws(StorageError) {
        try requireSound()
        do throws(StorageError) {
            try file.sync()
        } catch {
            throw latch(error)
        }
        // What another thread lost meanwhile may have been part of it.
        try requireSound()
    }

    func resize(to length: Int64) throws(StorageError) {
        try requireSound()
        try file.resize(to: length)
    }

    /// - Returns: the first error.
    private func latch(_ error: StorageError) -> StorageError {
        failure.withLock { failure in
            let first = failure ?? error
            failure = first
            return first
        }
    }
}

extension StorageError {
    /// Whether there was no space for more, and nothing that was there has suffered.
    fileprivate var isFull: Bool {
        guard case .systemCall(_, _, let code, _) = self else { return false }
        return code == .noSpace || code == .diskQuotaExceeded || code == .fileTooLarge
    }
}
