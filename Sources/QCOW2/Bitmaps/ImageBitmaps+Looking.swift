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
        guard let entry = directory.entries.first(where: { $0.name == Array(name.utf8) }) else {
            throw .image(.noBitmap(path, name: name, among: directory))
        }
        // What the list has among its problems.
        return try describe(entry, header, isOwn: false)
    }

    /// What a writer of the disk makes inconsistent for good, or finds so, in sentences: enabled
    /// bitmaps that can't be used, so that nothing can be marked in them. Reads the directory
    /// alone.
    ///
    /// Precondition: this object has not marked any as in use itself.
    package func lostByWriting() throws(StorageError) -> [String] {
        try BitmapDirectory.read(header, file).entries
            .filter(\.isEnabled)
            .compactMap { entry in
                guard !entry.isInUse else {
                    let problem = ImageProblem.inconsistentBitmap(
                        path, at: entry.offset + 12, name: entry.shownName)
                    return "\(problem) What is written now is not marked in it either."
                }
                return entry.flaw.map { "\($0) What is written now makes it inconsistent." }
            }
    }
}
