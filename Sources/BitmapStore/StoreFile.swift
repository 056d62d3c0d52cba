internal import SystemPackage

/// The file of a store as a transaction needs it: bytes at offsets, and locks.
///
/// Everything that is read, written or locked goes through here, so that a file in memory that
/// loses power on demand can stand in. Errors name the file, the call and the offset.
protocol StoreFile: AnyObject, Sendable {
    var path: FilePath { get }
    var isWritable: Bool { get }
    /// The kernel's number of this run of the machine; nil: it does not tell.
    var bootID: String? { get }

    /// Bytes.
    func length() throws(BitmapStoreError) -> Int64

    /// Exactly `count` bytes.
    ///
    /// - Throws: `truncated` if the file ends before.
    func read(at offset: Int64, count: Int) throws(BitmapStoreError) -> [UInt8]

    /// Writes all of it, growing the file if need be.
    func write(_ bytes: [UInt8], at offset: Int64) throws(BitmapStoreError)

    /// Makes everything written so far, and the length, durable.
    func sync() throws(BitmapStoreError)

    /// Cuts the file.
    func truncate(to length: Int64) throws(BitmapStoreError)

    /// Waits for the lock of one transaction.
    ///
    /// - Throws: `locked`, `noLocks`, and `vanished` if the file has no name any more.
    func lock(_ mode: LockMode) throws(BitmapStoreError)

    func unlock()

    /// Takes the lock that says that the job runs, for as long as the claim lives.
    ///
    /// - Returns: nil if somebody has it.
    func claim(job id: UInt64) throws(BitmapStoreError) -> (any JobClaim)?

    /// Whether somebody has that lock, in this process or another.
    func isClaimed(job id: UInt64) throws(BitmapStoreError) -> Bool

    /// Takes the file's name away, durably.
    func remove() throws(BitmapStoreError)
}

enum LockMode: Sendable { case shared, exclusive }

/// The lock of a running job: given back when its last owner goes, or its process ends.
protocol JobClaim: AnyObject, Sendable {}
