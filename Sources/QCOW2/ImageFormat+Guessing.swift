package import BlockStorage
internal import Glibc
public import SystemPackage

extension ImageFormat {
    /// The format of a file that is there, by its name and its first bytes. What can't be read is
    /// raw: whoever opens it will say why.
    package static func guess(
        at path: FilePath, option: String
    ) throws(StorageError) -> ImageFormat {
        guard
            let descriptor = try? SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY),
            let beginning = try? SystemCalls.read(descriptor.raw, at: 0, count: 4)
        else { return .raw }
        return try guess(path, beginning: beginning, option: option)
    }

    /// The format of a file that is to be made.
    public init(forNew path: FilePath) {
        self = path.extension?.lowercased() == "qcow2" ? .qcow2 : .raw
    }
}
