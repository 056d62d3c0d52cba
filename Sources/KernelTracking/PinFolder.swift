internal import BlockStorage
internal import Glibc
internal import SystemPackage

/// The folder of a bpffs in which a tracker's parts have names, so that they outlive every process.
struct PinFolder: Sendable {
    static let filesystem = "/sys/fs/bpf"
    static let root = filesystem + "/ringmirror"

    let name: String
    /// Locked: nothing else uses the tracker as long as it is open.
    private let folder: Descriptor

    private var path: String { Self.root + "/" + name }

    /// Names that a bpffs takes: it has no dots.
    static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 80
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: ":"):
                    true
                default: false
                }
            }
    }

    /// All trackers that have names here, whatever state they are in.
    static func names() throws(TrackingError) -> [String] {
        guard TrackerCalls.isPinFilesystem(filesystem) else { return [] }
        do throws(Errno) { return try SystemCalls.entries(of: root).sorted() } catch {
            if error == .noSuchFileOrDirectory { return [] }
            throw Self.error("opening", root, error)
        }
    }

    /// Makes the folder of a new tracker. The filesystem is mounted if it is not.
    init(making name: String) throws(TrackingError) {
        guard Self.isName(name) else { throw .invalidName(name) }
        try Self.prepareRoot()
        do throws(Errno) { try TrackerCalls.makeFolder(Self.root + "/" + name) } catch {
            if error == .fileExists { throw .nameTaken(name) }
            throw Self.error("mkdir", Self.root + "/" + name, error)
        }
        try self.init(opening: name)
    }

    /// - Parameter isLocked: nothing else may use the tracker meanwhile.
    init(opening name: String, isLocked: Bool = true) throws(TrackingError) {
        guard Self.isName(name) else { throw .invalidName(name) }
        let path = Self.root + "/" + name
        self.name = name
        do throws(Errno) {
            folder = try SystemCalls.open(path, O_RDONLY | O_DIRECTORY)
        } catch {
            if error == .noSuchFileOrDirectory { throw .noSuchTracker(name) }
            throw Self.error("opening", path, error)
        }
        if isLocked, !TrackerCalls.lock(folder) { throw .inUse(name) }
    }

    private static func prepareRoot() throws(TrackingError) {
        if !TrackerCalls.isPinFilesystem(filesystem) {
            do throws(Errno) { try TrackerCalls.mountPinFilesystem(at: filesystem) } catch {
                throw .noPinFilesystem(code: error)
            }
        }
        do throws(Errno) { try TrackerCalls.makeFolder(root) } catch {
            guard error == .fileExists else { throw Self.error("mkdir", root, error) }
        }
    }

    func pin(_ descriptor: CInt, as part: TrackerFiles.Part) throws(TrackingError) {
        try TrackerCalls.pin(descriptor, at: path + "/" + part.name)
    }

    func open(_ part: TrackerFiles.Part) throws(TrackingError) -> Descriptor {
        do throws(Errno) { return try TrackerCalls.openPin(at: path + "/" + part.name) } catch {
            if error == .noSuchFileOrDirectory { throw .incomplete(name, lacks: part.name) }
            throw Self.error("opening", path + "/" + part.name, error)
        }
    }

    /// Takes all names away, those of the links first: with the last of them the programs end.
    /// Also those of another version.
    func remove() throws(TrackingError) {
        let names: [String]
        do throws(Errno) { names = try SystemCalls.entries(of: path) } catch {
            throw Self.error("opening", path, error)
        }
        for name in names.filter({ $0.contains("link") }) + names {
            do throws(Errno) { try TrackerCalls.removeFile(path + "/" + name) } catch {
                guard error == .noSuchFileOrDirectory else {
                    throw Self.error("removing", path + "/" + name, error)
                }
            }
        }
        do throws(Errno) { try TrackerCalls.removeFolder(path) } catch {
            throw Self.error("rmdir", path, error)
        }
    }

    private static func error(_ call: String, _ path: String, _ code: Errno) -> TrackingError {
        switch code {
        case .permissionDenied, .notPermitted: .notPermitted(call: "\(call) \(path)")
        default: .system(call: call, path: path, code: code)
        }
    }
}
