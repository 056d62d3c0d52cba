public import BlockStorage
import Glibc
public import SystemPackage

/// Where the store of a disk or image is kept.
public enum StorePlace {
    /// The store of something that is open: `IMAGE.bitmaps` beside an image, links resolved, and
    /// a file named for the disk's durable facts in the state directory.
    public static func path(for device: StorageDevice) -> FilePath {
        path(
            kind: device.kind, resolvedPath: FilePath(device.resolvedPath),
            identity: device.identity)
    }

    /// The store of an image that needn't be opened.
    ///
    /// - Returns: beside what `image` leads to, or beside `image` itself if it leads nowhere.
    public static func path(image: FilePath) -> FilePath {
        beside(StoreCalls.resolve(image) ?? image)
    }

    /// The place by facts.
    ///
    /// - Parameter resolvedPath: without links, or one image would have two stores.
    public static func path(
        kind: StorageKind, resolvedPath: FilePath, identity: DeviceIdentity
    ) -> FilePath {
        switch kind {
        case .image: beside(resolvedPath)
        case .disk: stateDirectory().appending(identity.storeName + ".bitmaps")
        }
    }

    /// Whether a path leads to where the store of something that is open is looked for, by whatever
    /// names.
    public static func isUsual(_ store: FilePath, for device: StorageDevice) -> Bool {
        let usual = path(for: device)
        return (StoreCalls.resolve(store) ?? store) == (StoreCalls.resolve(usual) ?? usual)
    }

    /// Whether a file begins as a store does, of whatever disk or version.
    public static func isStore(at path: FilePath) -> Bool {
        let magic = Superblock.magic
        guard let file = try? SystemCalls.open(path, O_RDONLY | O_NONBLOCK),
            let bytes = try? SystemCalls.read(file.raw, at: 0, count: magic.count)
        else { return false }
        return bytes == magic
    }

    private static func beside(_ image: FilePath) -> FilePath {
        FilePath(image.string + ".bitmaps")
    }

    /// `$RINGMIRROR_STATE_DIR`; else, for root, `/var/lib/ringmirror`; else
    /// `$XDG_STATE_HOME/ringmirror`, or `.local/state/ringmirror` in the user's directory.
    public static func stateDirectory() -> FilePath {
        stateDirectory(isRoot: geteuid() == 0, environment: StoreCalls.environment)
    }

    static func stateDirectory(
        isRoot: Bool, environment: (String) -> FilePath?
    ) -> FilePath {
        func value(_ name: String) -> FilePath? {
            environment(name).flatMap { $0.isEmpty ? nil : $0 }
        }
        if let own = value("RINGMIRROR_STATE_DIR") { return own }
        if isRoot { return "/var/lib/ringmirror" }
        // The specification says that a relative path there is to be ignored.
        if let state = value("XDG_STATE_HOME"), state.isAbsolute {
            return state.appending("ringmirror")
        }
        let user = value("HOME") ?? "/"
        return user.appending(".local").appending("state").appending("ringmirror")
    }

    /// Makes the directory of a store, and those above it, for their owner alone; what is there
    /// is left as it is. What was made is durable when this returns.
    public static func makeDirectory(for store: FilePath) throws(BitmapStoreError) {
        let directory = store.removingLastComponent()
        guard !directory.isEmpty, StoreCalls.resolve(directory) == nil else { return }
        try makeDirectory(for: directory)
        do throws(Errno) {
            try StoreCalls.makeDirectory(directory, mode: 0o700)
        } catch .fileExists {
            // Another process is faster, and may not have synced it yet.
        } catch {
            throw .systemCall(call: "mkdir", path: directory, code: error)
        }
        let parent = directory.removingLastComponent()
        do throws(Errno) {
            let above = try SystemCalls.open(
                parent.isEmpty ? "." : parent, O_RDONLY | O_DIRECTORY)
            try SystemCalls.sync(above)
        } catch {
            throw .systemCall(call: "fsync", path: parent, code: error)
        }
    }
}
