public import BitmapStore
public import SystemPackage

extension StorePlace {
    /// The store of a disk: that of the file which it is called by.
    public static func path(for disk: Disk) -> FilePath {
        path(for: disk.device)
    }
}
