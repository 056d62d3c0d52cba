package import SystemPackage

/// Other storage that changes when this is written: another name of the same image, the image that
/// a loop device stands on, the disk that a partition is a part of.
///
/// What is kept about such storage is kept by its own name, and has to hear of the writes too.
package struct StorageAlias: Equatable, Sendable {
    package let kind: StorageKind
    /// Of an image, without links.
    package let resolvedPath: FilePath
    package let identity: DeviceIdentity
    /// Where the first byte of this storage lies in the other.
    package let offset: Int64
}

extension StorageDevice {
    /// What is known of other ways to the same bytes. Other names of an image are looked for in its
    /// own directory only; nothing leads from a file to its names.
    package func aliases() -> [StorageAlias] {
        switch kind {
        case .image: otherNames()
        case .disk:
            if case .block(let number) = node { SystemView.live.aliases(of: number) } else { [] }
        }
    }

    private func otherNames() -> [StorageAlias] {
        guard let status = try? SystemCalls.status(of: descriptor), status.links > 1 else {
            return []
        }
        let own = FilePath(resolvedPath)
        let directory = own.removingLastComponent()
        let names = (try? SystemCalls.entries(of: directory)) ?? []
        return names.compactMap { name in
            let path = directory.appending(name)
            guard path != own,
                let found = try? SystemCalls.status(at: path, followLinks: false),
                found.identity == node
            else { return nil }
            return StorageAlias(kind: .image, resolvedPath: path, identity: identity, offset: 0)
        }
    }
}

extension SystemView {
    func aliases(of number: DeviceNumber) -> [StorageAlias] {
        let own = "/sys/dev/block/\(number)"
        guard let disk = diskDirectory(of: number) else { return [] }
        let start = self.number(own + "/start").map { $0 * 512 } ?? 0
        var found: [StorageAlias] = []
        if disk != own, let whole = value(disk + "/dev").flatMap({ DeviceNumber($0) }),
            let sectors = self.number(disk + "/size")
        {
            let identity = identity(of: whole, size: sectors * 512, diskSequence: nil)
            found.append(
                StorageAlias(
                    kind: .disk, resolvedPath: "/dev", identity: identity, offset: start))
        }
        if let backing = loopFile(disk: disk) {
            let offset = start + (self.number(disk + "/loop/offset") ?? 0)
            found += image(backing.path, backing.identity, at: offset)
        }
        return found
    }

    private func image(
        _ path: FilePath, _ node: NodeIdentity, at offset: Int64
    ) -> [StorageAlias] {
        guard case .file = node, let status = status(path), status.identity == node else {
            return []
        }
        return [
            StorageAlias(
                kind: .image, resolvedPath: path, identity: DeviceIdentity(image: status),
                offset: offset)
        ]
    }
}
