internal import CLinux
import Glibc
internal import Synchronization
internal import SystemPackage

/// Tells that another process has written a file or disk, or changed its size, since this was made.
///
/// The kernel notes each write, truncation and punched hole with the process that made it
/// (fanotify(7), FAN_MODIFY; without privileges since Linux 5.13), when it has been made. It does
/// not note stores to a mapping, discards of a disk, and what comes to a disk by another node. What
/// this process itself does is not told apart: all of it counts as its own.
///
/// A write of this process costs about a microsecond more while such a watch is on.
final class ForeignWriters: Sendable {
    /// The queue of what the kernel has noted, for this one object.
    private let notices: Descriptor
    private let watched: Descriptor
    private let state = Mutex(State())

    private struct State {
        /// The first that was heard of, as a phrase.
        var found: String?
        var hasEnded = false
    }

    /// - Throws: why this kernel, filesystem or container tells nothing.
    init(of descriptor: Descriptor) throws(Errno) {
        notices = try SystemCalls.watchWrites(descriptor)
        watched = descriptor
    }

    /// The first other process that has written, as a phrase; nil: none has, as far as was noted.
    func first(_ view: SystemView) -> String? {
        state.withLock { state in
            if state.found == nil, !state.hasEnded {
                state.found = SystemCalls.foreignWriter(in: notices).map { $0.name(view) }
            }
            return state.found
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

/// Who wrote, as the kernel tells it.
enum ForeignWriter: Equatable {
    case process(pid: Int)
    /// Who it was is not told to users without privileges, nor to those in a container.
    case unnamed
    /// More has happened than the kernel keeps, or it can't be asked any more.
    case untold

    fileprivate func name(_ view: SystemView) -> String {
        switch self {
        case .process(let pid): view.isAlive(pid) ? "\(view.processName(pid))" : "process \(pid)"
        case .unnamed: "another process"
        case .untold: "it can't be told what, because too much has happened"
        }
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

    /// The first other process among what was noted and not asked for yet; nil: there is none.
    fileprivate static func foreignWriter(in notices: Descriptor) -> ForeignWriter? {
        var pid: CInt = 0
        switch unsafe ringmirror_foreign_writer(notices.raw, &pid) {
        case 0: return nil
        case 1: return pid > 0 ? .process(pid: Int(pid)) : .unnamed
        default: return .untold
        }
    }
}
