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
    private let mount: Mount

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
    }

    /// Where a file of the overlay may be, the topmost layer first.
    ///
    /// - Parameter path: below the mount, without links in it.
    func places(of path: String) -> [String] {
        let below = mount.point == "/" ? path[...] : path.dropFirst(mount.point.count)
        let inside = (mount.root == "/" ? "" : mount.root) + below
        return layers.map { $0 + inside }
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
        guard let path = linkTarget("/proc/self/fd/\(file.raw)"),
            let shown = try? SystemCalls.status(of: file)
        else { return nil }
        for place in overlay.places(of: path) {
            guard
                let found = try? SystemCalls.open(
                    FilePath(place), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW),
                let status = try? SystemCalls.status(of: found)
            else { continue }
            // An overlay shows these of the file that it stands for.
            guard status.kind == shown.kind, status.size == shown.size,
                status.modified == shown.modified, status.changed == shown.changed
            else { return nil }
            return (found, status)
        }
        return nil
    }
}
