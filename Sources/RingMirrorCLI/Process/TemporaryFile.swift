import Glibc
import SystemPackage

/// A copy of a file, in a folder of its own that nobody else looks into.
struct TemporaryFile {
    /// The copy; nothing is there if the original was not.
    let file: FilePath
    private let folder: FilePath

    /// - Throws: the last place's error, if no place for temporary files takes it.
    init(copying original: FilePath) throws(Errno) {
        // As bytes: a name that is no text would become that of another folder.
        let asked = unsafe getenv("TMPDIR").map { unsafe FilePath(platformString: $0) }
        var failure = Errno.noSuchFileOrDirectory
        // A dry run is wanted also where the usual place is full or can't be written.
        for place in [asked ?? "/tmp", "/dev/shm", "/var/tmp"] as [FilePath] {
            do throws(Errno) {
                self = try Self(copying: original, in: place)
                return
            } catch {
                failure = error
            }
        }
        throw failure
    }

    private init(copying original: FilePath, in place: FilePath) throws(Errno) {
        var template = unsafe place.appending("ringmirror-XXXXXX").withPlatformString {
            unsafe Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
        }
        folder = try unsafe template.withUnsafeMutableBufferPointer { (buffer) throws(Errno) in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else {
                throw Errno(rawValue: errno)
            }
            return unsafe FilePath(platformString: start)
        }
        file = folder.appending("store")
        guard Files.exists(original) else { return }
        do throws(Errno) {
            try Self.write(try Files.bytes(of: PathArgument(original)), to: file)
        } catch {
            remove()
            throw error
        }
    }

    private static func write(_ bytes: [UInt8], to path: FilePath) throws(Errno) {
        do {
            let file = try FileDescriptor.open(
                path, .writeOnly, options: [.create, .exclusiveCreate],
                permissions: .ownerReadWrite)
            try file.closeAfter { _ = try file.writeAll(bytes) }
        } catch {
            throw error as? Errno ?? .ioError
        }
    }

    func remove() {
        Files.remove(file)
        _ = unsafe folder.withPlatformString { unsafe rmdir($0) }
    }
}
