public import BlockStorage
internal import Glibc
public import SystemPackage

/// How the bytes of a disk lie in a file.
public enum ImageFormat: String, Sendable, CaseIterable, Codable {
    /// Each byte is where its offset says.
    case raw
    /// QEMU's format, versions 2 and 3.
    case qcow2

    /// The format of a file that is there, by its name and its first bytes. What can't be read is
    /// raw: whoever opens it will say why.
    ///
    /// Bytes alone decide nothing: the owner of a raw disk can write there what a qcow2 image
    /// begins with, and would be given any file that it names as its backing file.
    ///
    /// - Parameter option: the option that settles the matter, for the message.
    /// - Throws: `ImageProblem.refused` if name and bytes disagree.
    public static func guess(
        at path: FilePath, option: String
    ) throws(StorageError) -> ImageFormat {
        guard
            let descriptor = try? SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY),
            let beginning = try? SystemCalls.read(descriptor.raw, at: 0, count: 4)
        else { return .raw }
        return try guess(path, beginning: beginning, option: option)
    }

    /// The format of a file that is to be made, by its name.
    public init(forNew path: FilePath) {
        self = path.extension?.lowercased() == "qcow2" ? .qcow2 : .raw
    }

    static func guess(
        _ path: FilePath, beginning: [UInt8], option: String
    ) throws(StorageError) -> ImageFormat {
        let isNamed = path.extension?.lowercased() == "qcow2"
        let isMarked = Header.isPresent(in: beginning)
        switch (isNamed, isMarked) {
        case (true, true): return .qcow2
        case (false, false): return .raw
        case (true, false):
            throw .image(
                ImageProblem(
                    .refused, path, at: 0,
                    "it is named as a qcow2 image and does not begin as one",
                    remedy: "Say \(option) raw if it is raw all the same."))
        case (false, true):
            throw .image(
                ImageProblem(
                    .refused, path, at: 0,
                    "it begins as a qcow2 image and is not named as one, "
                        + "and a raw disk can be made to look so",
                    remedy: "Say \(option) qcow2, or \(option) raw."))
        }
    }
}
