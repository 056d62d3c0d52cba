package import BlockStorage
public import SystemPackage

extension Layer {
    /// The file below this image and its format, as the image says; nil if it stands alone.
    ///
    /// - Throws: an `ImageProblem` if the format is missing or not known, or if the name is none of
    ///   a file.
    package func backing() throws(StorageError) -> (path: FilePath, format: ImageFormat)? {
        guard let header, let name = header.backingFile else { return nil }
        guard let text = header.backingFormat else {
            // Looking at the file would let whoever writes that disk choose its format.
            throw .image(
                ImageProblem(
                    .refused, path,
                    "it does not say which format its backing file \"\(name)\" has",
                    remedy: "If it is raw, say so with `qemu-img rebase -u -b '\(name)' -F raw "
                        + "'\(path)'`; if it is qcow2, with -F qcow2."))
        }
        guard let format = ImageFormat(rawValue: text) else {
            throw .image(
                ImageProblem(
                    .unsupported, path,
                    "its backing file \"\(name)\" is of the format \"\(text)\"",
                    remedy: "What can be read is raw and qcow2."))
        }
        let referred = ReferredFile(name: name, what: "backing file", image: path)
        let image = device.map { FilePath($0.resolvedPath) } ?? path
        return (try referred.path(resolvedImage: image), format)
    }

    /// The file that has the data of an image that keeps it apart; nil: the image has it.
    public var dataPath: FilePath? { dataFile?.path }
}
