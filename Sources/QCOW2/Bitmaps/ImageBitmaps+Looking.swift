public import BlockStorage
public import SystemPackage

extension ImageBitmaps {
    /// The image.
    public var path: FilePath { file.path }

    /// Whether there is a bitmap of this name, in whatever state.
    public func contains(_ name: String) throws(StorageError) -> Bool {
        let directory = try BitmapDirectory.read(header, file)
        if directory.entries.contains(where: { $0.name == Array(name.utf8) }) { return true }
        // What can't be read may have it.
        if let flaw = directory.flaw { throw .image(flaw) }
        return false
    }

    /// One bitmap by its name.
    ///
    /// - Throws: an `ImageProblem` that is `missing`; what is wrong with the bitmap.
    public func bitmap(_ name: String) throws(StorageError) -> ImageBitmap {
        let list = try list()
        if let found = list.bitmaps.first(where: { $0.name == name }) { return found }
        let directory = try BitmapDirectory.read(header, file)
        if let flaw = directory.entries.first(where: { $0.name == Array(name.utf8) })?.flaw {
            throw .image(flaw)
        }
        throw .image(.noBitmap(path, name: name, among: directory))
    }
}
