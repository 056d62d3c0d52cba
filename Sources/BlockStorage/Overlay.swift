import Glibc
internal import SystemPackage

/// What a file on overlayfs is stored in: a file of one of its layers, which has another device
/// number, a page cache and a flush of its own.
///
/// Source: Documentation/filesystems/overlayfs.rst, and fs/overlayfs/params.c for the options.
struct Overlay {
    /// The directories that it shows, the topmost first: what two of them have, the first shows.
    let layers: [String]
    /// Flushes do nothing on it.
    let isVolatile: Bool
    /// A file of a layer may have its data in another layer, by another name.
    let hasMetacopies: Bool
    let mount: Mount

    /// Nil for a mount of another filesystem.
    init?(_ mount: Mount) {
        guard mount.filesystem == "overlay" else { return nil }
        self.mount = mount
        var upper: [String] = []
        var lower: [String] = []
        let options = mount.options.split(separator: ",")
        for option in options {
            guard let sign = option.firstIndex(of: "=") else { continue }
            let value = unescapeOctal(option[option.index(after: sign)...])
            switch option[..<sign] {
            case "upperdir": upper.append(Self.split(value, atColons: false)[0])
            case "lowerdir": lower += Self.split(value, atColons: true)
            case "lowerdir+", "datadir+": lower.append(value)
            default: break
            }
        }
        layers = upper + lower
        isVolatile = options.contains("volatile")
        hasMetacopies = options.contains("metacopy=on")
    }

    /// Where a file of the overlay may be, the topmost layer first.
    ///
    /// - Parameter path: below the mount, without links in it.
    func places(of path: String) -> [String] {
        let below = mount.point == "/" ? path[...] : path.dropFirst(mount.point.count)
        let inside = (mount.root == "/" ? "" : mount.root) + below
        return layers.map { $0 + inside }
    }

    /// What a file of a layer is called on the overlay; nil if that part of it is not mounted.
    ///
    /// - Parameter inside: its path below the layer's directory, with a slash before it.
    func path(of inside: Substring) -> String? {
        let root = mount.root == "/" ? "" : mount.root
        guard inside.hasPrefix(root + "/") else { return nil }
        return (mount.point == "/" ? "" : mount.point) + inside.dropFirst(root.count)
    }

    /// Undoes the backslashes that are before colons, commas and backslashes in names. Two colons
    /// are before layers that have data alone.
    private static func split(_ value: String, atColons: Bool) -> [String] {
        var names = [""]
        var isEscaped = false
        for character in value {
            if !isEscaped, character == "\\" {
                isEscaped = true
                continue
            }
            if !isEscaped, atColons, character == ":" {
                if names.last != "" { names.append("") }
            } else {
                names[names.count - 1].append(character)
            }
            isEscaped = false
        }
        return names
    }
}

extension SystemView {
    /// The mount of an open file; nil if proc can't be asked.
    func mount(of file: Descriptor) -> Mount? {
        guard let info = text("/proc/self/fdinfo/\(file.raw)"),
            let line = info.split(separator: "\n").first(where: { $0.hasPrefix("mnt_id:") }),
            let table = text("/proc/self/mountinfo")
        else { return nil }
        let id = line.dropFirst("mnt_id:".count).trimmed
        return table.split(separator: "\n").first { $0.hasPrefix(id + " ") }.flatMap {
            Mount(line: $0)
        }
    }

    /// The file of a layer that an open file of an overlay is stored in, opened for reading; nil if
    /// no layer can be seen from here, or none has it by its name.
    func storedFile(of file: Descriptor, in overlay: Overlay) -> (Descriptor, FileStatus)? {
        guard !overlay.hasMetacopies, let path = linkTarget("/proc/self/fd/\(file.raw)"),
            let shown = try? SystemCalls.status(of: file)
        else { return nil }
        for place in overlay.places(of: path) {
            guard
                let found = try? SystemCalls.open(
                    FilePath(place), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW),
                let status = try? SystemCalls.status(of: found)
            else { continue }
            // What is called `/` in a layer's name may be the overlay itself from here.
            guard status.identity != shown.identity else { continue }
            // An overlay shows these of the file that it stands for.
            guard status.kind == shown.kind, status.size == shown.size,
                status.modified == shown.modified, status.changed == shown.changed
            else { return nil }
            return (found, status)
        }
        return nil
    }
}

extension Survey {
    /// The mount whose point is the longest beginning of a path.
    func mount(of path: String) -> Mount? {
        let holding = mounts.filter { $0.covers(path) }
        // Of mounts on one point the last hides the others.
        let longest = holding.map(\.point.utf8.count).max()
        return holding.last { $0.point.utf8.count == longest }
    }

    /// The file of a layer that a path of an overlay leads to: the topmost one counts.
    func storedFile(of path: String) -> (identity: NodeIdentity, path: String)? {
        guard let overlay = mount(of: path).flatMap({ Overlay($0) }) else { return nil }
        for place in overlay.places(of: path) {
            if let identity = view.identify(place) { return (identity, place) }
        }
        return nil
    }

    /// Other numbers of the file that a path leads to: what it is stored in, if it is one of an
    /// overlay, and the files of overlays that are stored in it.
    func aliases(of path: String) -> Set<NodeIdentity> {
        let overlays = mounts.compactMap { Overlay($0) }.map {
            (overlay: $0, layers: Set($0.layers.compactMap { view.identify($0) }))
        }
        guard !overlays.isEmpty else { return [] }
        var found: Set<NodeIdentity> = []
        var pending = [path]
        var visited: Set<String> = []
        while let path = pending.popLast() {
            guard visited.insert(path).inserted else { continue }
            if let stored = storedFile(of: path) {
                found.insert(stored.identity)
                pending.append(stored.path)
            }
            let own = view.identify(path)
            let folders = folders(of: path)
            for (overlay, layers) in overlays {
                guard let layer = folders.first(where: { layers.contains($0.identity) }),
                    let shown = overlay.path(of: path.dropFirst(layer.path.count)),
                    let identity = view.identify(shown), storedFile(of: shown)?.identity == own
                else { continue }
                found.insert(identity)
                pending.append(shown)
            }
        }
        if let own = view.identify(path) { found.remove(own) }
        return found
    }

    /// The directories that a path leads through, the innermost first: a layer is known by its
    /// directory, whatever that is called, or mounted as. The path of `/` is empty.
    private func folders(of path: String) -> [(path: Substring, identity: NodeIdentity)] {
        var found: [(path: Substring, identity: NodeIdentity)] = []
        var folder = path[...]
        while let slash = folder.lastIndex(of: "/") {
            folder = folder[..<slash]
            if let identity = view.identify(folder.isEmpty ? "/" : String(folder)) {
                found.append((folder, identity))
            }
        }
        return found
    }
}
