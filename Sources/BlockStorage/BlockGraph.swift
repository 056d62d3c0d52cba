/// A block device as sysfs describes it.
struct BlockNode: Sendable {
    /// The name in sysfs.
    let name: String
    let number: DeviceNumber
    /// The name of the whole disk: its own, unless it is a partition.
    let disk: String
    /// Its 512-byte sectors on that disk.
    let sectors: Range<Int64>
    /// Who stands on it.
    let holders: [String]
    /// What it stands on.
    let slaves: [String]
    let mapperName: String?
    let mapperUUID: String?
    let worldwideName: String?
    let loop: LoopBacking?

    /// As a user knows it. Sysfs writes `!` for a slash.
    var path: String {
        if let mapperName { return "/dev/mapper/" + mapperName }
        return "/dev/" + String(name.map { $0 == "!" ? "/" : $0 })
    }

    /// Logical volumes: LVM sees to it that no two of them share a sector.
    var isLogicalVolume: Bool { mapperUUID?.hasPrefix("LVM-") == true }
}

/// What lies under a loop device.
struct LoopBacking: Sendable {
    let path: String
    /// Nil if neither the driver nor the path could say.
    let identity: NodeIdentity?
}

/// All block devices of the machine, and how they stand on each other.
struct BlockGraph: Sendable {
    private var nodesByName: [String: BlockNode] = [:]
    private var namesByNumber: [DeviceNumber: String] = [:]
    /// In the order of their names, so that messages do not vary.
    private(set) var nodes: [BlockNode] = []

    /// Reads sysfs; nil if it is not there.
    init?(_ view: SystemView) {
        let names = view.entries("/sys/class/block")
        guard !names.isEmpty else { return nil }
        for name in names {
            // Devices without a number (hidden NVMe paths) cannot be opened by anyone.
            guard let node = BlockNode(name, view) else { continue }
            nodes.append(node)
            nodesByName[name] = node
            namesByNumber[node.number] = name
        }
    }

    subscript(name: String) -> BlockNode? { nodesByName[name] }

    subscript(number: DeviceNumber) -> BlockNode? {
        namesByNumber[number].flatMap { nodesByName[$0] }
    }

    /// The node and all that shares sectors with it: a disk's partitions, a partition's disk. Not
    /// a partition's siblings.
    func overlapping(_ node: BlockNode) -> [BlockNode] {
        nodes.filter { $0.disk == node.disk && $0.sectors.overlaps(node.sectors) }
    }

    func loops(over identity: NodeIdentity) -> [BlockNode] {
        nodes.filter { $0.loop?.identity == identity }
    }
}

extension BlockNode {
    init?(_ name: String, _ view: SystemView) {
        let directory = "/sys/class/block/" + name
        guard let number = view.value(directory + "/dev").flatMap({ DeviceNumber($0) }) else {
            return nil
        }
        self.name = name
        self.number = number
        var disk = name
        // A whole disk counts as endless: it may have shrunk, and its partitions not know.
        var sectors: Range<Int64> = 0..<Int64.max
        if view.text(directory + "/partition") != nil,
            let link = view.linkTarget(directory),
            let parent = link.split(separator: "/").dropLast().last
        {
            disk = String(parent)
            let start = view.number(directory + "/start") ?? 0
            let count = view.number(directory + "/size") ?? Int64.max
            let (end, isTooLarge) = start.addingReportingOverflow(count)
            // An extended partition reports two sectors, and an empty one none: at least one, so
            // that it overlaps itself and its disk.
            sectors = start..<max(isTooLarge ? Int64.max : end, start + 1)
        }
        self.disk = disk
        self.sectors = sectors
        holders = view.entries(directory + "/holders")
        slaves = view.entries(directory + "/slaves")
        mapperName = view.value(directory + "/dm/name")
        mapperUUID = view.value(directory + "/dm/uuid")
        worldwideName =
            view.value(directory + "/wwid") ?? view.value(directory + "/device/wwid")
        if let path = view.text(directory + "/loop/backing_file") {
            loop = LoopBacking(
                path: path, identity: view.loopBacking(name) ?? view.identify(path))
        } else {
            loop = nil
        }
    }
}
