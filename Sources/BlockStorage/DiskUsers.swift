/// Who writes to a disk: everything mounted from it, from its partitions and from all that stands
/// on them, and everybody who needs no filesystem for that.
package struct DiskUsers: Sendable {
    /// Those that can be frozen. Each comes before those that it stands on, as a filesystem in an
    /// image file stands on the one that has the file.
    package private(set) var filesystems: [MountedFilesystem] = []
    /// Those that are written and can't be frozen.
    package private(set) var unfreezable: [MountedFilesystem] = []
    package private(set) var swaps: [String] = []
    /// Other processes that have one of the devices open for writing.
    package private(set) var writers: [ProcessName] = []
    /// Devices of device mapper, md and the like that nothing seen is mounted from.
    package private(set) var idleHolders: [(device: String, on: String)] = []
    package private(set) var exports: [(device: String, by: String)] = []
    /// Filesystems that the kernel has mounted where nobody can see it: in a namespace without a
    /// process, or unmounted while files are open.
    package private(set) var unseen: [(device: String, type: String)] = []

    private let survey: Survey
    private let tables: [MountTable]
    private var visitedNodes: Set<String> = []
    private var visitedFilesystems: Set<DeviceNumber> = []

    /// - Parameter processes: whether `writers` are looked for, which takes a look at all that all
    ///   processes have open.
    /// - Returns: nil if there is no such block device.
    /// - Throws: the name of what can't be read.
    package static func find(
        on path: String, processes: Bool = true, _ view: SystemView = .live
    ) throws(Blindness) -> DiskUsers? {
        guard let tables = view.mountTables() else {
            throw Blindness(missing: "/proc/self/mountinfo")
        }
        let survey: Survey
        do throws(Survey.Blindness) { survey = try .take(view) } catch {
            throw Blindness(missing: error.missing)
        }
        guard case .block(let number) = view.identify(path) else { return nil }
        guard let node = survey.graph[number] else {
            throw Blindness(missing: "/sys/dev/block/\(number)")
        }
        var users = DiskUsers(survey: survey, tables: tables)
        let direct = users.nodesWithoutFilesystem(from: node)
        users.visit(node, direct)
        users.notice(direct)
        if processes {
            users.writers = ProcessGuard.lastingWriters(
                to: Set(direct.map { .block($0.number) }), view)
        }
        return users
    }

    /// What can't be looked at.
    package struct Blindness: Error {
        package let missing: String
    }

    private init(survey: Survey, tables: [MountTable]) {
        self.survey = survey
        self.tables = tables
    }

    // MARK: What stands on what

    /// The device and all that passes its writes on to it through no filesystem that can be frozen:
    /// what writes to an image file is held by the filesystem that has the file.
    private func nodesWithoutFilesystem(from start: BlockNode) -> [BlockNode] {
        var found: [BlockNode] = []
        var names: Set<String> = []
        var pending = survey.graph.overlapping(start)
        while !pending.isEmpty {
            let node = pending.removeFirst()
            guard names.insert(node.name).inserted else { continue }
            found.append(node)
            pending += above(node)
            for filesystem in filesystems(on: node) where !filesystem.canBeFrozen {
                pending += loops(on: filesystem)
            }
        }
        return found
    }

    private func above(_ node: BlockNode) -> [BlockNode] {
        let loops = survey.graph.loops(over: .block(node.number))
        return (HolderGuard.above(node, survey) + loops).flatMap { survey.graph.overlapping($0) }
    }

    private func loops(on filesystem: MountedFilesystem) -> [BlockNode] {
        let devices = devicesShown(by: filesystem)
        let loops = survey.graph.nodes.filter { node in
            guard let loop = node.loop else { return false }
            if case .file(let device, _) = loop.identity, devices.contains(device) { return true }
            // A subvolume of btrfs shows a number of its own.
            return tables[0].mount(having: loop.path).map { devices.contains($0.device) } ?? false
        }
        return loops.flatMap { survey.graph.overlapping($0) }
    }

    /// The numbers that its files are seen under: overlays show others, and write to it.
    private func devicesShown(by filesystem: MountedFilesystem) -> Set<DeviceNumber> {
        var devices: Set<DeviceNumber> = [filesystem.device]
        for table in tables {
            for mount in table.mounts where mount.filesystem == "overlay" {
                if let upper = mount.upperDirectory,
                    table.mount(having: upper)?.device == filesystem.device
                {
                    devices.insert(mount.device)
                }
            }
        }
        return devices
    }

    private mutating func visit(_ start: BlockNode, _ direct: [BlockNode]) {
        let directNames = Set(direct.map(\.name))
        var pending = survey.graph.overlapping(start)
        // What stands on a device comes before it, whatever the order of the devices.
        while !pending.isEmpty {
            let node = pending.removeFirst()
            guard visitedNodes.insert(node.name).inserted else { continue }
            for upper in above(node) { visit(upper, direct) }
            for filesystem in filesystems(on: node)
            where visitedFilesystems.insert(filesystem.device).inserted {
                for loop in loops(on: filesystem) { visit(loop, direct) }
                let isDirect = directNames.contains(node.name)
                noticeSwapFiles(on: filesystem)
                if filesystem.canBeFrozen {
                    filesystems.append(filesystem)
                } else if isDirect && !filesystem.isReadOnly {
                    unfreezable.append(filesystem)
                }
            }
        }
    }

    // MARK: Filesystems

    private func filesystems(on node: BlockNode) -> [MountedFilesystem] {
        var members: Set<NodeIdentity> = [.block(node.number)]
        for devices in memberships(of: node).values {
            members.formUnion(devices.compactMap { survey.graph[$0].map { .block($0.number) } })
        }
        var found: [MountedFilesystem] = []
        for table in tables {
            for mount in table.mounts where isMounted(mount, from: node, members) {
                let place = MountedFilesystem.Place(
                    mount: mount.id, process: table.process, point: mount.point)
                if let index = found.firstIndex(where: { $0.device == mount.device }) {
                    found[index].places.append(place)
                } else {
                    found.append(MountedFilesystem(mount, place))
                }
            }
        }
        return found
    }

    private func isMounted(
        _ mount: Mount, from node: BlockNode, _ members: Set<NodeIdentity>
    ) -> Bool {
        if mount.device == node.number { return true }
        guard mount.device.isAnonymous, mount.source.hasPrefix("/"),
            let source = survey.view.identify(mount.source)
        else { return false }
        return members.contains(source)
    }

    /// The filesystems of several disks that count this one as theirs, and all their disks.
    private func memberships(of node: BlockNode) -> [String: [String]] {
        let root = "/sys/fs/btrfs"
        var found: [String: [String]] = [:]
        for filesystem in survey.view.entries(root) {
            let devices = survey.view.entries("\(root)/\(filesystem)/devices")
            if devices.contains(node.name) { found[filesystem] = devices }
        }
        return found
    }

    // MARK: Those without a filesystem

    private mutating func noticeSwapFiles(on filesystem: MountedFilesystem) {
        // A frozen filesystem does not hold its swap files: pages go past it. Those in an image
        // file on a frozen one would wait for that, and programs for their memory.
        let devices = devicesShown(by: filesystem)
        for swap in survey.swaps {
            guard case .file(let device, _) = swap.identity else { continue }
            let owner = tables[0].mount(having: swap.path)?.device
            if devices.contains(device) || owner == filesystem.device { swaps.append(swap.path) }
        }
    }

    private mutating func notice(_ direct: [BlockNode]) {
        for node in direct {
            let identity = NodeIdentity.block(node.number)
            let swapsHere = survey.swaps.filter { $0.identity == identity }.map(\.path)
            swaps += swapsHere
            for case .exported(let device, let by) in ExportGuard.uses(of: identity, survey) {
                exports.append((device, by))
            }
            let mounted = filesystems(on: node)
            if mounted.isEmpty { noticeUnseen(node) }
            if let below = node.slaves.first, isIdle(node) {
                idleHolders.append((node.path, survey.graph[below]?.path ?? "/dev/" + below))
            }
        }
    }

    /// Whether nothing seen uses a device, or one of its partitions.
    private func isIdle(_ node: BlockNode) -> Bool {
        survey.graph.overlapping(node).allSatisfy { part in
            filesystems(on: part).isEmpty && above(part).isEmpty
                && !survey.swaps.contains { $0.identity == .block(part.number) }
        }
    }

    private mutating func noticeUnseen(_ node: BlockNode) {
        for type in ["ext4", "xfs", "f2fs"]
        where survey.view.entries("/sys/fs/\(type)").contains(node.name) {
            unseen.append((node.path, type))
        }
        if !memberships(of: node).isEmpty { unseen.append((node.path, "btrfs")) }
    }
}
