public import BlockStorage
internal import Glibc
public import SystemPackage

/// How the bytes of a disk lie in a file.
public enum ImageFormat: String, Sendable, CaseIterable, Codable {
    /// Each byte is where its offset says.
    case raw
    /// QEMU's format, versions 2 and 3.
    case qcow2

    /// The format of a file that is there, by its name and its first bytes. What is no file or
    /// disk, or is not there, has the format of its name: whoever opens it will say what it is.
    ///
    /// Bytes alone decide nothing: the owner of a raw disk can write there what a qcow2 image
    /// begins with, and would be given any file that it names as its backing file.
    ///
    /// - Parameter role: what the disk is to the caller, for the message.
    /// - Throws: `ImageProblem.refused` if name and bytes disagree, and what keeps the bytes from
    ///   being read: a guess without them could take an image for the disk in it.
    public static func guess(
        at path: FilePath, as role: DiskRole
    ) throws(StorageError) -> ImageFormat {
        let descriptor: Descriptor
        do throws(Errno) {
            guard try SystemCalls.isFileOrDisk(at: path) else {
                return ImageFormat(forNew: path)
            }
            descriptor = try SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        } catch {
            if error == .noSuchFileOrDirectory { return ImageFormat(forNew: path) }
            throw .opening(path, .readOnly, error)
        }
        let beginning: [UInt8]
        do throws(Errno) {
            beginning = try SystemCalls.read(descriptor.raw, at: 0, count: 8)
        } catch {
            throw .image(
                ImageProblem(
                    .refused, path, at: 0,
                    "its first bytes can't be read to see its format: \(error)",
                    remedy:
                        "\(.format(role, is: "raw")) if it is a raw disk; `dmesg` says more of a "
                        + "device with errors."))
        }
        return try guess(path, beginning: beginning, as: role)
    }

    /// The format of a file that is to be made, by its name.
    public init(forNew path: FilePath) {
        self = path.extension?.lowercased() == "qcow2" ? .qcow2 : .raw
    }

    static func guess(
        _ path: FilePath, beginning: [UInt8], as role: DiskRole
    ) throws(StorageError) -> ImageFormat {
        let isNamed = path.extension?.lowercased() == "qcow2"
        // What is no qcow2 image in spite of the mark is known as a foreign format; by a name that
        // says it were one, reading it says why it isn't.
        let isVersionOne = Array(beginning.dropFirst(4)) == [0, 0, 0, 1]
        let isMarked = Header.isPresent(in: beginning) && (isNamed || !isVersionOne)
        switch (isNamed, isMarked) {
        case (true, true): return .qcow2
        case (false, false): return .raw
        case (true, false):
            throw .image(
                ImageProblem(
                    .refused, path, at: 0,
                    "it is named as a qcow2 image and does not begin as one",
                    remedy: "\(.format(role, is: "raw")) if it is raw all the same."))
        case (false, true):
            throw .image(
                ImageProblem(
                    .refused, path, at: 0,
                    "it begins as a qcow2 image and is not named as one, "
                        + "and a raw disk can be made to look so",
                    remedy: "\(.format(role, is: "qcow2")), or \(.format(role, is: "raw"))."))
        }
    }
}
