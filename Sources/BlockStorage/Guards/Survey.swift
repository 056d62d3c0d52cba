/// One look at the machine, shared by the guards of one opening.
struct Survey {
    let view: SystemView
    let graph: BlockGraph
    let mounts: [Mount]
    let swaps: [(path: String, identity: NodeIdentity?)]

    /// - Throws: the name of what cannot be read. A guard that is blind must not say yes.
    static func take(_ view: SystemView) throws(Blindness) -> Survey {
        guard let graph = BlockGraph(view) else { throw Blindness(missing: "/sys/class/block") }
        guard let mounts = view.mounts() else { throw Blindness(missing: "/proc/self/mountinfo") }
        return Survey(
            view: view, graph: graph, mounts: mounts,
            swaps: view.swaps().map { ($0, view.identify($0)) })
    }

    struct Blindness: Error {
        let missing: String
    }
}
