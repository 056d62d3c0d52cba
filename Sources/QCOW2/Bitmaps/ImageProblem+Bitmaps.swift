internal import BlockStorage
internal import SystemPackage

/// What can be wrong with bitmaps in an image, in one voice.
extension ImageProblem {
    private static let removeAll: Remedy =
        "\(.removeAllBitmaps), which leaves the disk's data alone; then start anew with a full "
        + "mirror."
    private static let startAnew = "Remove it, add it again, and mirror everything once."

    /// The directory can't be read to its end.
    static func brokenDirectory(
        _ path: FilePath, at offset: Int64?, _ what: String
    ) -> ImageProblem {
        ImageProblem(
            .malformed, path, at: offset, "the directory of its bitmaps is broken: \(what)",
            remedy: removeAll)
    }

    static func brokenBitmap(
        _ path: FilePath, at offset: Int64, name: String, _ what: String
    ) -> ImageProblem {
        ImageProblem(
            .malformed, path, at: offset, "bitmap '\(name)' is broken: \(what)",
            remedy: name.isEmpty ? removeAll : Remedy(startAnew))
    }

    static func unknownBitmap(
        _ path: FilePath, at offset: Int64, name: String, _ what: String
    ) -> ImageProblem {
        ImageProblem(
            .unsupported, path, at: offset, "bitmap '\(name)' can't be used: \(what)",
            remedy: "A newer program may know it. Keep it for that, or remove it.")
    }

    static func noBitmap(
        _ path: FilePath, name: String, among directory: BitmapDirectory
    ) -> ImageProblem {
        let names = directory.entries.map(\.shownName)
        let remedy: Remedy =
            if directory.isStale {
                Remedy(BitmapDirectory.staleNote)
            } else if names.isEmpty {
                "It has none at all; \(.addBitmap)."
            } else {
                "It has: \(names.joined(separator: ", "))."
            }
        return ImageProblem(
            .missing, path, "it has no bitmap '\(name)'", remedy: remedy, code: .noSuchBitmap)
    }

    static func inconsistentBitmap(_ path: FilePath, at offset: Int64, name: String) -> ImageProblem
    {
        ImageProblem(
            .refused, path, at: offset,
            "bitmap '\(name)' is inconsistent: a program that recorded in it has the image open, "
                + "or died, and what was written meanwhile is not known",
            remedy: "If no program has the image open: \(startAnew.lowercasedFirst)",
            code: .bitmapInconsistent)
    }

    static func bitmapNameTaken(_ path: FilePath, name: String) -> ImageProblem {
        ImageProblem(
            .unsupported, path, "it has a bitmap '\(name)' already",
            remedy: "Choose another name, or remove that one.", code: .nameTaken)
    }

    static func bitmapSizesDiffer(
        _ path: FilePath, name: String, size: Int64, other: Int64
    ) -> ImageProblem {
        ImageProblem(
            .unsupported, path,
            "bitmap '\(name)' is for a disk of \(size) bytes and can't be combined with bits for "
                + "\(other) bytes",
            remedy: "Only bitmaps of the same size can be combined.", code: .sizesDiffer)
    }
}

extension String {
    fileprivate var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
