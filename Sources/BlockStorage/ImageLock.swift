public import SystemPackage

/// A lock, of the kind by which QEMU's programs and virtual machines share images, that somebody
/// else holds and that is in the way.
public struct ImageLock: Hashable, Sendable {
    /// What a holder may do with an image, or lets nobody else do.
    public enum Permission: Int64, Sendable {
        /// Reading it, and relying on what it holds.
        case consistentRead = 0
        /// Writing it.
        case write = 1
        /// Changing its length.
        case resize = 3
    }

    /// The image or disk.
    public let path: FilePath
    /// What it is about.
    public let permission: Permission
    /// True if the holder does it; false if the holder lets nobody else do it.
    public let isInUse: Bool
    /// The holders, as far as they can be seen.
    public let holders: [ProcessName]

    /// A lock that is held by these processes.
    public init(
        path: FilePath, permission: Permission, isInUse: Bool, holders: [ProcessName]
    ) {
        self.path = path
        self.permission = permission
        self.isInUse = isInUse
        self.holders = holders
    }
}

extension ImageLock: CustomStringConvertible {
    /// Who is in the way, and by what.
    public var description: String {
        let who =
            holders.isEmpty
            ? "a virtual machine or another program"
            : holders.map(\.description).joined(separator: ", ")
        return "\(who) \(doing) (QEMU's image lock)"
    }

    private var doing: String {
        switch (permission, isInUse) {
        case (.consistentRead, true): "reads \(path) and relies on what it holds"
        case (.write, true): "has \(path) open for writing"
        case (.resize, true): "may change the length of \(path)"
        case (.consistentRead, false): "writes \(path) and lets nobody read it meanwhile"
        case (.write, false): "has \(path) open and lets nobody write it"
        case (.resize, false): "has \(path) open and lets nobody change its length"
        }
    }

    /// How an engineer ends it.
    var remedy: String {
        holders.isEmpty
            ? "shut that virtual machine or program down"
            : "shut down " + holders.map(\.description).joined(separator: ", ")
    }
}
