import Glibc
import SystemPackage

/// A copy of a file, in a folder of its own that nobody else looks into.
struct TemporaryFile {
    /// The copy; nothing is there if the original was not.
    let file: FilePath
    private let folder: FilePath

    /// - Throws: the last place's error, if no place for temporary files takes it.
    init(copying original: FilePath) throws(Errno) {
        let asked = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) }
        var failure = Errno.noSuchFileOrDirectory
        // A dry run is wanted also where the usual place is full or can't be written.
        for place in [asked ?? "/tmp", "/dev/shm", "/var/tmp"] {
            do throws(Errno) {
                self = try Self(copying: original, in: place)
                return
            } catch {
                failure = error
            }
        }
        throw failure
    }

    private init(copying original: FilePath, in place: String) throws(Errno) {
        var template = Array("\(place)/ringmirror-XXXXXX".utf8CString)
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
