internal import Glibc

// Processes and their threads, as proc shows them.

extension SystemView {
    func processes() -> [Int] { entries("/proc").compactMap { Int($0) } }

    /// This process's number in /proc, which may be that of another pid namespace.
    var ownProcess: Int { linkTarget("/proc/self").flatMap { Int($0) } ?? Int(getpid()) }

    /// Whether /proc has the numbers that the kernel tells this process.
    var numbersAreOurs: Bool { ownProcess == Int(getpid()) }

    func processName(_ pid: Int) -> ProcessName {
        ProcessName(pid: pid, command: value("/proc/\(pid)/comm") ?? "?")
    }

    /// Whether a process still runs: one that was killed keeps its number until its parent has
    /// asked what became of it.
    func isAlive(_ pid: Int) -> Bool {
        guard let status = text("/proc/\(pid)/stat"), let name = status.lastIndex(of: ")") else {
            return false
        }
        // The state follows the command, in which any character may be.
        guard ["Z", "X"].contains(status[status.index(after: name)...].trimmed.first) else {
            return true
        }
        // That is the state of its first thread, which may end before the others.
        return threads(of: pid).count > 1
    }

    /// Directories that have, together, all descriptors of a process below `fd`. Threads may have
    /// tables of their own (unshare(2), CLONE_FILES), and where the first thread has ended, only
    /// the others have any.
    func descriptorTables(of pid: Int) -> [String] {
        var tables = ["/proc/\(pid)"]
        var owners: [Int]? = [pid]
        for thread in threads(of: pid) where thread != pid {
            // Where it can't be told who shares one with whom, each is asked for its own.
            var isShared: Bool? = false
            for owner in owners ?? [] where isShared == false {
                isShared = sharesDescriptors(owner, thread)
            }
            if isShared == true { continue }
            tables.append("/proc/\(pid)/task/\(thread)")
            if isShared == nil { owners = nil } else { owners?.append(thread) }
        }
        return tables
    }

    /// A list of what a process has mapped: `maps`, or `smaps`, which has more of each; nil if it
    /// can't be read. A thread that has ended shows nothing, and all others the same.
    func mappings(of pid: Int, _ list: String = "maps") -> [UInt8]? {
        let own = bytes("/proc/\(pid)/\(list)")
        guard own?.isEmpty ?? true else { return own }
        for thread in threads(of: pid) where thread != pid {
            let found = bytes("/proc/\(pid)/task/\(thread)/\(list)")
            if found?.isEmpty == false { return found }
        }
        return own
    }

    /// All threads of a process, the first one also if it has ended.
    private func threads(of pid: Int) -> [Int] {
        entries("/proc/\(pid)/task").compactMap { Int($0) }
    }
}
