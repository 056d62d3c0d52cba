public import BlockStorage
public import DirtyBitmap

/// A named bitmap in an image, as it was when the image was asked.
public struct ImageBitmap: Hashable, Sendable {
    /// 1 to 1023 bytes, unique in its image.
    public let name: String
    /// Bytes of the disk.
    public let size: Int64
    /// Bytes per bit.
    public let granularity: Granularity
    /// Whether it takes marks; QEMU calls it enabled, or `auto`.
    public let isRecording: Bool
    /// Whether its bits can't be trusted: a program that recorded in it still has the image open,
    /// or died. It can only be removed.
    public let isInconsistent: Bool
    /// Dirty granules; all of them if it is inconsistent.
    public let dirtyCount: Int
    /// Dirty bytes, exact: a short last granule counts with its real length.
    public let dirtyBytes: Int64
}

/// What an image says about its bitmaps.
public struct ImageBitmapList: Equatable, Sendable {
    /// Those that can be used, and inconsistent ones, in the order of the image.
    public internal(set) var bitmaps: [ImageBitmap] = []
    /// What else is there and can't be used.
    public internal(set) var problems: [ImageProblem] = []
    /// Sentences about what is no problem now, and should be known.
    public internal(set) var notes: [String] = []
}

/// Which names a bitmap may get. More is allowed to those that other programs have made.
enum ImageBitmapName {
    /// What is wrong with it; nil: nothing. Control characters would play tricks with terminals.
    static func flaw(in name: String) -> String? {
        if name.isEmpty { return "it is empty" }
        if name.utf8.count > BitmapEntry.nameBytesMax {
            return "it has \(name.utf8.count) bytes, and \(BitmapEntry.nameBytesMax) are the most"
        }
        if name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            return "it has control characters"
        }
        return nil
    }
}
