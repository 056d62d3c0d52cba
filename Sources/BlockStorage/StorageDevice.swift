import Glibc
internal import Synchronization
public import SystemPackage

/// A disk or image that is open. Owns its descriptors, claims and locks until its last use.
///
/// Opening runs every guard, so whoever holds one may read it, or write it if `access` says so.
/// Nothing that is asked of it changes: it can be shared between threads freely. Positions are
/// always given explicitly; the file positions of its descriptors belong to `extent(at:)`.
public final class StorageDevice: Sendable {
    /// As the user gave it.
    public let path: FilePath
    public let kind: StorageKind
    public let access: Access
    public let geometry: Geometry
    public let identity: DeviceIdentity
    public let caching: Caching
    public let zeroing: ZeroingAbility
    /// True if this opening made the file, and nobody has asked for `takeStartsZero` yet.
    public var startsZero: Bool { isUntouched.load(ordering: .relaxed) }
    private let isUntouched: Atomic<Bool>
    /// What is worth knowing about this opening, in sentences. Nothing is wrong.
    public let notes: [String]
    /// What makes a copy from or to it weaker than one may expect, in sentences.
    public let warnings: [String]

    /// Where the name led: the key by which guards tell storage apart.
    let node: NodeIdentity
    /// The path with links resolved, as the kernel told it when the file was open.
    package let resolvedPath: String
    private let holesCanBeTrusted: Bool

    // Swift destroys these in order: the direct descriptor goes before the one that holds the
    // exclusive claim, and the locks, one of which keeps udev away, go after it.
    private let direct: Descriptor?
    private let buffered: Descriptor
    private let locks: [Descriptor]
    private let caches: PageCaches
    private let created: NewImage?
    /// Why nobody could look who had it open when it was opened to be written, as a sentence.
    let unseenUsers: String?
    /// Who else writes it; nil: nobody has asked for that.
    let writers: Mutex<WriterWatch?>
    /// Whether somebody has it open who can write it, or the disk in it, without moving its times.
    package let hidesWrites: Bool
    /// A look at what is read once, from before its first byte was; a write that follows shows.
    package let openingWitness: WriteWitness?

    /// - Parameter created: the file, if this opening made it.
    init(
        opened: OpenedObject, access: Access, direct: DirectAccess, locks: [Descriptor],
        caches: PageCaches, description: StorageDescription, created: NewImage?,
        writers: WriterWatch? = nil, unseenUsers: String? = nil,
        openingWitness: WriteWitness? = nil,
        notes: [String], warnings: [String] = [], hidesWrites: Bool = false
    ) {
        self.hidesWrites = hidesWrites
        self.openingWitness = hidesWrites ? openingWitness?.hidingWrites : openingWitness
        path = opened.path
        kind = opened.kind
        self.access = access
        geometry = description.geometry
        identity = description.identity
        caching = direct.caching
        zeroing = description.zeroing
        isUntouched = Atomic(created != nil)
        self.notes = notes
        self.warnings = warnings
        node = opened.status.identity
        resolvedPath = opened.resolvedPath
        holesCanBeTrusted =
            opened.kind == .image && description.filesystem?.holesCanBeTrusted == true
        // Its file may be written by other machines, by a server, or by another name of it.
        let isWrittenUnseen =
            opened.kind == .image && description.filesystem?.showsWriters != true
        self.writers = Mutex(
            opened.watch == nil || !isWrittenUnseen
                ? opened.watch : .blind("its filesystem may be written beside this mount"))
        self.direct = direct.descriptor
        buffered = opened.descriptor
        self.unseenUsers = unseenUsers
        self.caches = caches
        self.locks = locks
        self.created = created
    }

    /// Of a block device, its number, such as 8:16; of a file, its path.
    package var number: String {
        if case .block(let number) = node { "\(number)" } else { resolvedPath }
    }

    /// Takes the file away if this opening made it: what could not be made an image must not stay
    /// behind, or the corrected command is refused.
    package func removeIfCreated() { created?.remove() }

    /// The O_DIRECT descriptor; nil if access is buffered.
    package var directDescriptor: CInt? { direct?.raw }

    /// An ordinary descriptor of the same object, for unaligned tails, fallocate and fsync. On a
    /// block device it is the one that holds the exclusive claim.
    package var bufferedDescriptor: CInt { buffered.raw }

    /// Two ways to its bytes: 0, direct where that is possible, and 1, through the page cache.
    package var endpoints: [Endpoint] {
        [.file(directDescriptor ?? bufferedDescriptor), .file(bufferedDescriptor)]
    }

    /// The same, for this module's own calls.
    var descriptor: Descriptor { buffered }

    /// A few bytes as the disk has them, around the page cache if it is opened so. Fewer come where
    /// it ends.
    ///
    /// - Parameters:
    ///   - offset: a multiple of the geometry's alignment, and so is `count`.
    package func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        do throws(Errno) {
            return try SystemCalls.readAligned(
                directDescriptor ?? bufferedDescriptor, at: offset, count: count,
                alignment: max(geometry.memoryAlignment, 4096))
        } catch {
            throw .systemCall(call: "read", path: path, code: error, offset: offset)
        }
    }

    /// Brings what anything has written to it to stable storage, with its times.
    ///
    /// - Throws: if something that was written to it, or to what is below it, since it was opened
    ///   is lost; also if somebody else was told of that before, and then each time.
    package func flush() throws(StorageError) {
        do throws(Errno) { try caches.flush() } catch {
            throw .systemCall(call: "fsync", path: path, code: error)
        }
    }

    /// Why something that is lost below it would not be noticed, as a sentence; nil: it would be.
    package var deafness: String? { caches.deafness }

    /// Makes what is read next come from the storage, and not from what a page cache kept of a
    /// write that failed.
    ///
    /// - Parameter isTable: whether it is read through its own cache though its data are not, as
    ///   the tables of an image are.
    package func readAnew(isTable: Bool = false) {
        // The end of a disk that is off the block is read through the cache, too.
        let isUneven = geometry.size % Int64(geometry.offsetAlignment) != 0
        caches.readAnew(dropsOwn: isTable || isUneven || caching != .direct)
    }

    /// Whether a range of its page cache can be written back, asked of all that is in it now. Once
    /// it can, an error of that is a loss.
    package func canWriteBack() -> Bool { SystemCalls.writeBack(buffered) }

    /// The size now: disks shrink and vanish, and then answer with other errors than one expects.
    package func currentSize() throws(StorageError) -> Int64 {
        do throws(Errno) {
            switch kind {
            case .disk: return try SystemCalls.blockDeviceSize(buffered.raw)
            case .image: return try SystemCalls.status(of: buffered).size
            }
        } catch {
            throw .systemCall(
                call: kind == .disk ? "BLKGETSIZE64" : "statx", path: path, code: error)
        }
    }

    /// What begins at `offset`, which must lie inside `geometry.size`. What the file has grown by
    /// since it was opened is not looked at.
    ///
    /// Complexity: a few system calls; at most some hundred where holes are very small.
    package func extent(at offset: Int64) throws(StorageError) -> StorageExtent {
        precondition(offset >= 0 && offset < geometry.size, "offset outside the storage")
        guard holesCanBeTrusted else {
            return StorageExtent(range: offset..<geometry.size, content: .data)
        }
        return ExtentScanner(descriptor: buffered.raw, size: geometry.size).extent(at: offset)
    }

    /// Whether the device reads as zeros everywhere. True at most once: whoever asks is going to
    /// write it, and for the next one it is not so.
    package func takeStartsZero() -> Bool {
        isUntouched.exchange(false, ordering: .relaxed)
    }

    /// True if the range is known to read as zeros without a look at its bytes: a hole of a file,
    /// or space reserved and never written. Always false for disks, whose past nobody knows.
    package func readsAsZero(_ range: Range<Int64>) -> Bool {
        guard holesCanBeTrusted else { return false }
        return ExtentScanner(descriptor: buffered.raw, size: geometry.size).isHole(range)
    }
}

extension StorageDevice {
    /// Whether a path leads to the object that this device has open.
    package func isSame(as path: FilePath) -> Bool {
        (try? SystemCalls.status(at: path))?.identity == node
    }

    /// Whether its own path leads to it still, asked of the filesystem anew.
    package var isInPlace: Bool { (try? SystemCalls.freshStatus(at: path))?.identity == node }
}
