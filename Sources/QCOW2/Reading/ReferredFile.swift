internal import BlockStorage
internal import SystemPackage

/// A file that an image names: the one below it, or the one that has its data.
struct ReferredFile {
    /// As the image has it.
    let name: String
    /// What it is to the image, for messages.
    let what: String
    /// Whose name it is.
    let image: FilePath

    /// The path to open. A relative name starts at the directory of the image itself, not of a
    /// link that leads to it.
    func path(resolvedImage: FilePath) throws(StorageError) -> FilePath {
        var plain = name[...]
        if plain.hasPrefix("file:") {
            plain = plain.dropFirst("file:".count)
            // QEMU has it start at the directory it runs in: the name means something else each
            // time.
            guard plain.hasPrefix("/") else {
                throw unsupported("a relative name behind \"file:\" has no meaning of its own")
            }
        } else if let colon = name.firstIndex(of: ":"), !name[..<colon].contains("/") {
            throw unsupported(
                name.hasPrefix("json:")
                    ? "it is described and not named" : "that is no file on this machine")
        }
        guard !plain.isEmpty, !plain.utf8.contains(0) else {
            throw unsupported("that is no name of a file")
        }
        return resolvedImage.removingLastComponent().pushing(FilePath(String(plain)))
    }

    private func unsupported(_ why: String) -> StorageError {
        let shown = name.count > 200 ? String(name.prefix(200)) + "…" : name
        return .image(
            ImageProblem(
                .unsupported, image, "its \(what) is \"\(shown)\": \(why)",
                remedy: "Name it by its path, with `qemu-img rebase -u` or `qemu-img amend`."))
    }
}
