import Glibc

/// Finds processes that have storage open. The exclusive claim does not stop them: a plain open
/// for writing succeeds before and after it.
enum ProcessGuard {
    struct Opener: Equatable {
        let process: ProcessName
        let canWrite: Bool
    }

    /// Other processes that have any of `reach` open or mapped. Without root only our own user's
    /// processes are seen.
    static func openers(of reach: Set<NodeIdentity>, _ view: SystemView) -> [Opener] {
        guard !reach.isEmpty else { return [] }
        let ownProcess = view.ownProcess
        return view.processes().filter { $0 != ownProcess }.compactMap { pid in
            let descriptors = access(of: pid, to: reach, view)
            // A mapping outlives its descriptor.
            let canWrite =
                descriptors == true
                ? true : MappingGuard.access(of: pid, to: reach, view) ?? descriptors
            guard let canWrite else { return nil }
            return Opener(process: view.processName(pid), canWrite: canWrite)
        }
    }

    /// Whether this process itself has any of `reach` open, for writing or at all; nil: not at all.
    static func ownAccess(to reach: Set<NodeIdentity>, _ view: SystemView) -> Bool? {
        access(of: view.ownProcess, to: reach, view)
    }

    static func writers(to reach: Set<NodeIdentity>, _ view: SystemView) -> [ProcessName] {
        openers(of: reach, view).filter(\.canWrite).map(\.process)
    }

    /// Who writes to what the kernel says to have a writer. A process that shows no way to write
    /// may still have one: it mapped the file by a descriptor that it has closed.
    static func certainWriters(
        to reach: Set<NodeIdentity>, _ view: SystemView
    ) -> [ProcessName] {
        let found = writers(to: reach, view)
        guard found.isEmpty else { return found }
        let ownProcess = view.ownProcess
        return view.processes().filter {
            $0 != ownProcess && MappingGuard.maps(reach, $0, view)
        }.map { view.processName($0) }
    }

    /// Writers that stay. losetup, udev and others open a device for a moment when it appears, and
    /// are gone before anybody could be told to stop them.
    static func lastingWriters(
        to reach: Set<NodeIdentity>, _ view: SystemView
    ) -> [ProcessName] {
        var found = writers(to: reach, view)
        for _ in 0..<looks where !found.isEmpty {
            SystemCalls.sleep(milliseconds: pauseMilliseconds)
            found = writers(to: reach, view)
        }
        return found
    }

    // 10 × 25 ms = 0.25 s, which only a refusal costs.
    private static let looks = 10
    private static let pauseMilliseconds: UInt32 = 25

    /// Whether the process may write to any of `reach`; nil if it has none of it open.
    private static func access(
        of pid: Int, to reach: Set<NodeIdentity>, _ view: SystemView
    ) -> Bool? {
        var found: Bool?
        for table in view.descriptorTables(of: pid) {
            for descriptor in view.entries("\(table)/fd") {
                let link = "\(table)/fd/\(descriptor)"
                // Sockets, pipes and the like have no path; most descriptors end here. A path may
                // be longer than a link can tell.
                guard view.linkTarget(link)?.hasPrefix("/") ?? true,
                    let identity = view.identify(link), reach.contains(identity)
                else { continue }
                if mayWrite(view.text("\(table)/fdinfo/\(descriptor)") ?? "") { return true }
                found = false
            }
        }
        return found
    }

    /// The access mode in the line `flags:` of fdinfo, which is octal. What cannot be read may
    /// well write.
    private static func mayWrite(_ information: String) -> Bool {
        let lines = information.split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("flags:") }),
            let flags = Int32(line.dropFirst("flags:".count).trimmed, radix: 8)
        else { return true }
        return flags & O_ACCMODE != O_RDONLY
    }
}
