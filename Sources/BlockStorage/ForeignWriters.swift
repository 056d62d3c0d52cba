internal import CLinux
import Glibc
internal import Synchronization
internal import SystemPackage

/// Tells that another process has written a file or disk, changed its size, or had it open, since
/// this was made.
///
/// The kernel notes each write, truncation and punched hole with the process that made it
/// (fanotify(7), FAN_MODIFY; without privileges since Linux 5.13), when it has been made. It notes
/// none of what comes by a mapping, by libaio, by a loop device over the file or, to a disk, by
/// discards; but who does that has the file open, and opening and closing is noted, too. What comes
/// to a disk by another node is not heard of at all. What this process itself does is not told
/// apart: all of it counts as its own.
///
/// A write of this process costs about a microsecond more while such a watch is on.
final class ForeignWriters: Sendable {
    /// The queue of what the kernel has noted, for this one object.
    private let notices: Descriptor
    private let state: Mutex<State>

    private struct State {
        var heard: Heard
        var hasEnded = false
    }

    /// What was heard of. The texts are phrases that name a process.
    struct Heard: Sendable {
        /// Has written.
        var writer: String?
        /// Had it open for writing, and has closed it.
        var closer: String?
        /// The same, since the comparison began.
        var closerSinceComparison: String?
        /// Something may have it open, or had.
        var isOpened = false
        /// Those that have opened it, and how much oftener than they were heard to close it; 0: one
        /// that is not told.
        var openers: [Int: Int] = [:]
        /// There was more than the kernel keeps.
        var isIncomplete = false
        /// Why nothing more is told.
        var failure: Errno?

        fileprivate var isCompared = false
    }

    /// - Parameter isOpened: nobody has looked who had it open before this was made.
    /// - Throws: why this kernel, filesystem or container tells nothing.
    init(of descriptor: Descriptor, isOpened: Bool) throws(Errno) {
        notices = try SystemCalls.watchWrites(descriptor)
        state = Mutex(State(heard: Heard(isOpened: isOpened)))
    }

    /// What was heard of by now: what is known stays known.
    func heard(_ view: SystemView) -> Heard {
        state.withLock { state in
            if !state.hasEnded { listen(&state, view) }
            return state.heard
        }
    }

    /// All of it is compared from now on: who has closed it before can't have written what is not
    /// compared, because a write that is on its way, or a mapping, keeps it from being closed.
    func beginComparison(_ view: SystemView) {
        state.withLock { state in
            listen(&state, view)
            state.heard.isCompared = true
        }
    }

    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// Notes nothing from now on. What was heard of stays known.
    ///
    /// The kernel frees such a watch some 10 ms later, and a process that ends waits for that: the
    /// sooner this is said, the less.
    ///
    /// - Parameter descriptor: what this was made of.
    func end(_ descriptor: Descriptor, _ view: SystemView) {
        state.withLock { state in
            guard !state.hasEnded else { return }
            SystemCalls.unwatchWrites(descriptor, notices)
            listen(&state, view)
            state.hasEnded = true
        }
    }

    private func listen(_ state: inout State, _ view: SystemView) {
        while state.heard.failure == nil {
            do throws(Errno) {
                let found = try SystemCalls.foreignNotices(in: notices)
                if found.isEmpty { return }
                for notice in found { state.heard.add(notice, view) }
            } catch {
                state.heard.failure = error
            }
        }
    }
}

/// What the kernel has noted of another process since its note before, in no order.
private struct ForeignNotice {
    struct Deeds: OptionSet {
        let rawValue: UInt32
        static let wrote = Deeds(rawValue: ringmirror_notice_wrote)
        static let opened = Deeds(rawValue: ringmirror_notice_opened)
        static let closedWriter = Deeds(rawValue: ringmirror_notice_closed_writer)
        static let closedReader = Deeds(rawValue: ringmirror_notice_closed_reader)
        /// More has happened than the kernel keeps.
        static let untold = Deeds(rawValue: ringmirror_notice_untold)
    }

    let deeds: Deeds
    /// 0 where it is not told: to users without privileges, and in containers.
    let pid: Int
}

extension ForeignWriters.Heard {
    fileprivate mutating func add(_ notice: ForeignNotice, _ view: SystemView) {
        let deeds = notice.deeds
        let pid = view.numbersAreOurs ? notice.pid : 0
        if deeds.contains(.untold) { isIncomplete = true }
        // A name costs a look at /proc, and one of each kind is enough.
        if deeds.contains(.wrote), writer == nil { writer = Self.name(pid, view) }
        if deeds.contains(.closedWriter), (isCompared ? closerSinceComparison : closer) == nil {
            let name = Self.name(pid, view)
            closer = closer ?? name
            if isCompared { closerSinceComparison = name }
        }
        let isOpening = deeds.contains(.opened)
        let isClosing = !deeds.isDisjoint(with: [.closedWriter, .closedReader])
        if isOpening { isOpened = true }
        // What one process has done since its last note is told at once, and in no order: who has
        // opened and closed it is taken to have closed what it opened.
        guard isOpening != isClosing else { return }
        if isOpening {
            openers[pid, default: 0] += 1
        } else if pid != 0, let count = openers[pid] {
            // Of those that are not told, who closes it need not be the one that opened it.
            openers[pid] = count > 1 ? count - 1 : nil
        }
    }

    /// A process by its number, as a phrase.
    static func name(_ pid: Int, _ view: SystemView) -> String {
        guard pid > 0 else { return "another process" }
        return view.isAlive(pid)
            ? "\(view.processName(pid))" : "process \(pid) (ended)"
    }
}

extension SystemCalls {
    fileprivate static func watchWrites(_ descriptor: Descriptor) throws(Errno) -> Descriptor {
        let raw = ringmirror_watch_writes(descriptor.raw)
        guard raw >= 0 else { throw Errno(rawValue: errno) }
        return Descriptor(raw)
    }

    fileprivate static func unwatchWrites(_ descriptor: Descriptor, _ notices: Descriptor) {
        // Where that fails, closing it does the same.
        _ = ringmirror_unwatch_writes(notices.raw, descriptor.raw)
    }

    /// The next notes of other processes, some of them.
    fileprivate static func foreignNotices(
        in notices: Descriptor
    ) throws(Errno) -> [ForeignNotice] {
        let found: [ForeignNotice]? = unsafe withUnsafeTemporaryAllocation(
            of: ringmirror_notice.self, capacity: Int(ringmirror_notices_at_once)
        ) { found in
            let count = unsafe ringmirror_foreign_notices(notices.raw, found.baseAddress)
            guard count >= 0 else { return nil }
            return unsafe found.prefix(Int(count)).map {
                ForeignNotice(deeds: .init(rawValue: $0.deeds), pid: Int($0.pid))
            }
        }
        guard let found else { throw Errno(rawValue: errno) }
        return found
    }
}
