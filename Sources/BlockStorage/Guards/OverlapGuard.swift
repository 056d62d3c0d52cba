/// Finds out whether writing one piece of storage would change another: the same disk under two
/// names, a disk and its partition, a loop device and its file, a file and the disk it is on.
struct OverlapGuard {
    let survey: Survey

    struct Subject {
        let identity: NodeIdentity
        let resolvedPath: String
    }

    enum Verdict: Equatable {
        case apart
        case same
        case overlap(how: String)
    }

    func compare(source: Subject, target: Subject) -> Verdict {
        if source.identity == target.identity { return .same }
        let below = footprint(of: target)
        for mine in footprint(of: source) {
            for other in below where mine.ground == other.ground {
                guard mine.range.overlaps(other.range), mine.via.excludes(other.via) else {
                    continue
                }
                // Two names of one disk that share no number: two paths to one LUN.
                if mine.via == .itself, other.via == .itself, mine.range == other.range {
                    return .same
                }
                return .overlap(how: explain(mine, other))
            }
        }
        return .apart
    }

    /// What holds bytes.
    private enum Ground: Hashable {
        /// A disk, by its worldwide name if it has a trustworthy one, else its name in sysfs.
        case disk(String)
        case file(NodeIdentity)
    }

    /// By way of what a thing stands on its ground.
    private enum Via: Equatable {
        case itself
        case device(String, isLogicalVolume: Bool)
        case file(NodeIdentity)

        /// False if two things that come this way are known to keep apart on the ground.
        func excludes(_ other: Via) -> Bool {
            switch (self, other) {
            case (.itself, _), (_, .itself): true
            // They met further up already, where it was decided.
            case _ where self == other: false
            // A filesystem keeps its files apart, and LVM its volumes.
            case (.file, .file): false
            case (.device(_, true), .device(_, true)): false
            default: true
            }
        }
    }

    private struct Stand {
        let ground: Ground
        let range: Range<Int64>
        let via: Via
        let name: String
    }

    /// Everything the subject stands on, down to the disks.
    private func footprint(of subject: Subject) -> [Stand] {
        var stands: [Stand] = []
        var visited: [(NodeIdentity, Via)] = []
        var pending: [(identity: NodeIdentity, path: String, via: Via)] = [
            (subject.identity, subject.resolvedPath, .itself)
        ]
        while let (identity, path, via) = pending.popLast() {
            if visited.contains(where: { $0.0 == identity && $0.1 == via }) { continue }
            visited.append((identity, via))
            switch identity {
            case .block(let number):
                guard let node = survey.graph[number] else { continue }
                stands.append(
                    Stand(
                        ground: ground(of: node), range: node.sectors, via: via, name: node.path))
                pending += below(node)
            case .file(let device, _), .other(let device, _):
                stands.append(
                    Stand(ground: .file(identity), range: 0..<Int64.max, via: via, name: path))
                // A file of a layer is the same file by another number.
                if device.isAnonymous, let stored = survey.storedFile(of: path) {
                    pending.append((stored.identity, stored.path, via))
                }
                let disks = device.isAnonymous ? filesystemDisks(path) : [device]
                pending += disks.map { (.block($0), path, .file(identity)) }
            }
        }
        return stands
    }

    private func below(_ node: BlockNode) -> [(identity: NodeIdentity, path: String, via: Via)] {
        // A partition's data is where its disk's is.
        guard let disk = survey.graph[node.disk] else { return [] }
        let via = Via.device(disk.name, isLogicalVolume: disk.isLogicalVolume)
        var found = disk.slaves.compactMap { survey.graph[$0] }.map {
            (identity: NodeIdentity.block($0.number), path: $0.path, via: via)
        }
        if let loop = disk.loop, let identity = loop.identity {
            found.append((identity, loop.path, via))
        }
        return found
    }

    /// Only names whose form promises uniqueness: cheap bridges repeat the others.
    private func ground(of node: BlockNode) -> Ground {
        let name = survey.graph[node.disk]?.worldwideName
        if let name, ["naa.", "eui.", "uuid."].contains(where: { name.hasPrefix($0) }) {
            return .disk(name)
        }
        return .disk(node.disk)
    }

    /// The disks of a filesystem that makes up the numbers of its files.
    private func filesystemDisks(_ path: String) -> [DeviceNumber] {
        guard let mount = survey.mount(of: path), mount.source.hasPrefix("/"),
            case .block(let number) = survey.view.identify(mount.source)
        else { return [] }
        return [number] + siblings(of: number)
    }

    private func siblings(of number: DeviceNumber) -> [DeviceNumber] {
        let root = "/sys/fs/btrfs"
        guard let name = survey.graph[number]?.name else { return [] }
        for filesystem in survey.view.entries(root) {
            let members = survey.view.entries("\(root)/\(filesystem)/devices")
            if members.contains(name) { return members.compactMap { survey.graph[$0]?.number } }
        }
        return []
    }

    private func explain(_ source: Stand, _ target: Stand) -> String {
        switch (source.via, target.via) {
        case (.itself, .itself): "they share sectors of one disk"
        case (.itself, _): "the target lies on the source, \(source.name)"
        case (_, .itself): "the source lies on the target, \(target.name)"
        default: "both stand on \(source.name)"
        }
    }
}
