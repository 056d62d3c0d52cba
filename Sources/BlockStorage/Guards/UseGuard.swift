/// Finds who uses a disk or image: directly, through its partitions and its whole disk, through
/// everything that stands on it, and through everything that shares what it stands on.
struct UseGuard {
    let survey: Survey

    struct Findings {
        var uses: [Use] = []
        /// Every device and file whose writers would write to the subject.
        var reach: Set<NodeIdentity> = []
        /// Files among them that are the subject by another number: the kernel does not count those
        /// who have one open for the other.
        var aliases: Set<NodeIdentity> = []
    }

    /// - Parameter path: of the subject, without links in it; only that of a file matters.
    func findings(on subject: NodeIdentity, at path: String? = nil) -> Findings {
        var findings = Findings()
        var chain: Set<NodeIdentity> = []
        var base: (identity: NodeIdentity, path: String?)? = (subject, path)
        // A loop device is its file under another name, so who uses the file uses it as well.
        // The set of those passed ends a circular chain.
        while let current = base, chain.insert(current.identity).inserted {
            climb(from: current.identity, below: chain, &findings)
            if case .file = current.identity, let path = current.path {
                for alias in survey.aliases(of: path) where chain.insert(alias).inserted {
                    findings.aliases.insert(alias)
                    climb(from: alias, below: chain, &findings)
                }
            }
            base = backing(of: current.identity)
        }
        return findings
    }

    private func backing(of identity: NodeIdentity) -> (identity: NodeIdentity, path: String?)? {
        guard case .block(let number) = identity, let node = survey.graph[number],
            let loop = survey.graph[node.disk]?.loop, let identity = loop.identity
        else { return nil }
        return (identity, loop.path)
    }

    /// Collects the uses of `start` and of all that stands on it, apart from the loop devices of
    /// `chain`, by which we came down here.
    private func climb(
        from start: NodeIdentity, below chain: Set<NodeIdentity>, _ findings: inout Findings
    ) {
        findings.reach.insert(start)
        var pending: [BlockNode] = []
        switch start {
        case .block(let number):
            if let node = survey.graph[number] { pending = survey.graph.overlapping(node) }
        case .file, .other:
            note(MountGuard.uses(of: start, survey), &findings)
            note(SwapGuard.uses(of: start, survey), &findings)
            note(ExportGuard.uses(of: start, survey), &findings)
            pending = loops(over: start, besides: chain, &findings)
        }
        var visited: Set<DeviceNumber> = []
        while !pending.isEmpty {
            let node = pending.removeFirst()
            guard visited.insert(node.number).inserted else { continue }
            let identity = NodeIdentity.block(node.number)
            findings.reach.insert(identity)
            note(MountGuard.uses(of: identity, survey), &findings)
            note(SwapGuard.uses(of: identity, survey), &findings)
            note(ExportGuard.uses(of: identity, survey), &findings)
            note(HolderGuard.uses(of: node, survey), &findings)
            pending += HolderGuard.above(node, survey).flatMap { survey.graph.overlapping($0) }
            pending += loops(over: identity, besides: chain, &findings)
        }
    }

    private func loops(
        over identity: NodeIdentity, besides chain: Set<NodeIdentity>,
        _ findings: inout Findings
    ) -> [BlockNode] {
        // The chain may have been entered at a partition, whose loop device is the whole disk.
        let disks = chain.compactMap { member -> String? in
            guard case .block(let number) = member else { return nil }
            return survey.graph[number]?.disk
        }
        let loops = survey.graph.loops(over: identity).filter { !disks.contains($0.disk) }
        note(LoopGuard.uses(loops), &findings)
        return loops.flatMap { survey.graph.overlapping($0) }
    }

    private func note(_ uses: [Use], _ findings: inout Findings) {
        for use in uses where !findings.uses.contains(use) { findings.uses.append(use) }
    }
}
