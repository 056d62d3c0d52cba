/// Names loop devices as uses. The kernel counts them neither as holders nor as claims, so a disk
/// below one looks free to every other check.
enum LoopGuard {
    static func uses(_ loops: [BlockNode]) -> [Use] {
        loops.compactMap { node in
            node.loop.map { .loop(device: node.path, over: $0.path) }
        }
    }
}
