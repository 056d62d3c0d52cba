/// Finds the filesystems mounted from a device or file.
enum MountGuard {
    static func uses(of identity: NodeIdentity, _ survey: Survey) -> [Use] {
        var uses: [Use] = []
        for mount in survey.mounts where isMounted(mount, from: identity, survey) {
            uses.append(.mounted(device: name(identity, mount, survey), at: mount.point))
        }
        guard case .block(let number) = identity, let node = survey.graph[number] else {
            return uses
        }
        return uses + membership(of: node, survey)
    }

    private static func isMounted(
        _ mount: Mount, from identity: NodeIdentity, _ survey: Survey
    ) -> Bool {
        if case .block(mount.device) = identity { return true }
        // btrfs shows a number of its own making, and so do filesystems mounted from plain
        // files: there the path that was mounted has to tell.
        guard mount.device.isAnonymous, mount.source.hasPrefix("/") else { return false }
        return survey.view.identify(mount.source) == identity
    }

    /// mountinfo names one disk of a btrfs of several; sysfs has them all, while it is mounted.
    private static func membership(of node: BlockNode, _ survey: Survey) -> [Use] {
        let root = "/sys/fs/btrfs"
        return survey.view.entries(root).compactMap { filesystem in
            guard survey.view.entries("\(root)/\(filesystem)/devices").contains(node.name) else {
                return nil
            }
            return .filesystemMember(device: node.path, filesystem: "btrfs " + filesystem)
        }
    }

    private static func name(
        _ identity: NodeIdentity, _ mount: Mount, _ survey: Survey
    ) -> String {
        if case .block(let number) = identity, let node = survey.graph[number] { return node.path }
        return mount.source
    }
}
