internal import BlockStorage
internal import SystemPackage

extension StorageError {
    /// An image is not what its format wants, and would be damaged more if it were written.
    static func damaged(_ path: FilePath, at offset: Int64, _ what: String) -> StorageError {
        .image(
            ImageProblem(
                .malformed, path, at: offset, what,
                remedy: damageRemedy(path)))
    }

    /// What to do about an image whose tables contradict each other.
    static func damageRemedy(_ path: FilePath) -> Remedy {
        "The image is damaged: `qemu-img check \(path)` shows more. Keep a copy of it, and run "
            + "`qemu-img check -r all \(path)` first; what that leaves as it is, `qemu-img "
            + "convert` to a new image mends."
    }
}
