public import BlockStorage
internal import DirtyBitmap
internal import Synchronization
public import SystemPackage

/// Named dirty bitmaps of one disk or image, and the records of jobs on them, in one small file.
///
/// Every method that changes something is one transaction: it holds the file's lock, looks at what
/// other processes have done, and when it returns its work is durable. If it throws, if the process
/// is killed or the power goes, the file has the state before it; if the power goes just before it
/// returns, it may have the state after it. It never has anything else.
///
/// Threads and processes may use one store at the same time; each method waits for its turn, up to
/// 10 s. Methods block on the disk for milliseconds: don't call them from the copy loop.
public final class BitmapStore: Sendable {
    /// As the user gave it.
    public var path: FilePath { file.path }

    let file: any StoreFile
    let clock: @Sendable () -> Int64
    let holder: JobHolder
    private let cache: Mutex<Cache>

    /// What the last look at the file found.
    struct Cache: Sendable {
        var generation: Generation?
        /// A commit failed halfway, and the file could not be brought back to what it was.
        var isUncertain = false
        /// The second superblock was written by us, and not synced yet.
        var hasPendingSlot = false
    }

    init(
        file: any StoreFile, holder: JobHolder, clock: @escaping @Sendable () -> Int64
    ) {
        self.file = file
        self.clock = clock
        self.holder = holder
        cache = Mutex(Cache())
    }

    /// What was committed last, by this process or another.
    ///
    /// - Returns: a number that grows with each transaction.
    public var generation: UInt64 {
        get throws(BitmapStoreError) {
            try look { view throws(BitmapStoreError) in view.generation }
        }
    }

    /// The disk or image that the store belongs to, as it was when the store was made.
    public func device() throws(BitmapStoreError) -> DeviceIdentity {
        try look { view throws(BitmapStoreError) in view.catalog.device }
    }

    /// Reads under the shared lock.
    func look<Result: ~Copyable & Sendable>(
        _ body: (View) throws(BitmapStoreError) -> Result
    ) throws(BitmapStoreError) -> Result {
        try cache.withLock { cache throws(BitmapStoreError) -> Result in
            try file.lock(.shared)
            defer { file.unlock() }
            let generation = try Generation.load(file, known: cache.generation)
            cache.generation = generation
            return try body(View(file: file, generation: generation))
        }
    }

    /// Changes the catalog under the exclusive lock, and commits if `body` left it different.
    func transact<Result: ~Copyable & Sendable>(
        _ body: (inout Transaction) throws(BitmapStoreError) -> Result
    ) throws(BitmapStoreError) -> Result {
        guard file.isWritable else { throw .readOnly(path: path) }
        return try cache.withLock { cache throws(BitmapStoreError) -> Result in
            try file.lock(.exclusive)
            defer { file.unlock() }
            let generation = try Generation.load(file, known: cache.generation)
            cache.generation = generation
            var transaction = Transaction(
                file: file, base: generation, now: clock(),
                isUncertain: cache.isUncertain)
            let result = try body(&transaction)
            transaction.catalog.prune()
            guard transaction.catalog != generation.catalog else {
                // Nothing to do: what was asked for is so already, and has to stay so.
                try transaction.settle()
                cache.isUncertain = false
                return result
            }
            do throws(CommitFailure) {
                cache.generation = try transaction.commit()
                cache.isUncertain = false
                cache.hasPendingSlot = true
            } catch {
                cache.generation = nil
                if error.isUncertain { cache.isUncertain = true }
                throw error.error
            }
            return result
        }
    }

    /// Takes the file away if it has neither bitmaps nor jobs.
    ///
    /// - Returns: whether it did. The store is of no use then.
    @discardableResult
    public func removeFileIfEmpty() throws(BitmapStoreError) -> Bool {
        guard file.isWritable else { throw .readOnly(path: path) }
        return try cache.withLock { cache throws(BitmapStoreError) -> Bool in
            try file.lock(.exclusive)
            defer { file.unlock() }
            let generation = try Generation.load(file, known: cache.generation)
            cache.generation = generation
            let catalog = generation.catalog
            guard catalog.isEmpty else { return false }
            try file.remove()
            return true
        }
    }

    deinit {
        // The second superblock of the last commit; the first one is durable already.
        if cache.withLock({ $0.hasPendingSlot }) { try? file.sync() }
    }
}

/// One generation under a lock that keeps it from changing, or the next one as far as it is made.
struct View {
    let file: any StoreFile
    let catalog: Catalog
    let reader: BitReader
    /// Of the generation that was committed last.
    let generation: UInt64
}

extension View {
    init(file: any StoreFile, generation: Generation) {
        self.init(
            file: file, catalog: generation.catalog,
            reader: BitReader(file: file, tables: generation.tables),
            generation: generation.superblock.generation)
    }
}
