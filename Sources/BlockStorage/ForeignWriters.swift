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
    private let watched: Descriptor
    private let state = Mutex(State())

    private struct State {
        var heard = Heard()
        var hasEnded = false
    }

    /// What was heard of. The texts are phrases that name a process.
    struct Heard: Sendable {
        /// Has written.
        var writer: String?
        /// Had it open for writing, and has closed it.
        var closer: String?
        /// Something has opened it. As long as it has, a look at all processes finds it.
        var isOpened = false
        /// The same, and no look would find it: why, as a phrase.
        var unseenOpener: String?
    }

    /// - Throws: why this kernel, filesystem or container tells nothing.
    init(of descriptor: Descriptor) throws(Errno) {
        notices = try SystemCalls.watchWrites(descriptor)
        watched = descriptor
    }

    /// What was heard of by now: what is known stays known.
    func heard(_ view: SystemView) -> Heard {
        state.withLock { state in
            while !state.hasEnded, let notice = SystemCalls.foreignNotice(in: notices) {
                state.heard.add(notice, view)
                // An error would come again and again.
                if notice.kind == .untold { break }
            }
            return state.heard
        }
    }

    /// Notes nothing from now on. What was heard of stays known.
    ///
    /// The kernel frees such a watch some 10 ms later, and a process that ends waits for that: the
    /// sooner this is said, the less.
    func end() {
        state.withLock { state in
            guard !state.hasEnded else { return }
            state.hasEnded = true
            SystemCalls.unwatchWrites(watched, notices)
        }
    }
}

/// What the kernel has noted of another process.
private struct ForeignNotice {
    enum Kind {
        case wrote, closed, opened
        /// More has happened than the kernel keeps, or it can't be asked any more.
        case untold
    }

    let kind: Kind
    /// 0 where it is not told: to users without privileges, and in containers.
    let pid: Int
}

extension ForeignWriters.Heard {
    fileprivate mutating func add(_ notice: ForeignNotice, _ view: SystemView) {
        // A name costs a look at /proc, and one of each kind is enough.
        switch notice.kind {
        case .wrote: if writer == nil { writer = Self.name(notice.pid, view) }
        case .closed: if closer == nil { closer = Self.name(notice.pid, view) }
        case .opened:
            isOpened = true
            if notice.pid == 0 || !view.seesAllProcesses {
                unseenOpener = unseenOpener ?? "something that can't be seen from here"
            }
        case .untold: unseenOpener = "more than the kernel keeps in mind"
        }
    }

    private static func name(_ pid: Int, _ view: SystemView) -> String {
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

    /// The next note of another process; nil: there is none.
    fileprivate static func foreignNotice(in notices: Descriptor) -> ForeignNotice? {
        var pid: CInt = 0
        let found = unsafe ringmirror_foreign_notice(notices.raw, &pid)
        let kind: ForeignNotice.Kind
        switch found {
        case 0: return nil
        case ringmirror_notice_wrote: kind = .wrote
        case ringmirror_notice_closed: kind = .closed
        case ringmirror_notice_opened: kind = .opened
        default: kind = .untold
        }
        return ForeignNotice(kind: kind, pid: Int(pid))
    }
}
