/// Finds the devices that the kernel has built on a device: device mapper, md, bcache.
enum HolderGuard {
    static func uses(of node: BlockNode, _ survey: Survey) -> [Use] {
        node.holders.map { holder in
            .heldBy(device: node.path, holder: survey.graph[holder]?.path ?? "/dev/" + holder)
        }
    }

    static func above(_ node: BlockNode, _ survey: Survey) -> [BlockNode] {
        node.holders.compactMap { survey.graph[$0] }
    }
}
