package import BlockStorage
internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// Filesystems that are held still, by two helper processes that thaw them whatever becomes of this
/// one.
@safe package final class Freeze: @unchecked Sendable {
    private let filesystems: [MountedFilesystem]
    /// Kept open: the helpers freeze and thaw through them.
    private let mounts: [Descriptor]
    private let handle: OpaquePointer
    private let span = Mutex<FreezeSpan?>(nil)

    /// How long a thaw is waited for; where it did not become still in time, that is hopeless.
    private static var patience: Int64 { 10_000_000_000 }
    private static var patienceWithHung: Int64 { 500_000_000 }

    /// Freezes all filesystems of a plan, in their order.
    ///
    /// - Parameter limitNanoseconds: from the beginning of the first one. All are thawed then,
    ///   whatever happens.
    /// - Throws: why one of them could not be frozen; none is then.
    package static func begin(
        _ plan: FreezePlan, limitNanoseconds: Int64
    ) throws(FreezeError) -> Freeze {
        var mounts: [Descriptor] = []
        for filesystem in plan.filesystems {
            guard let opened = filesystem.open() else { throw .gone(filesystem) }
            mounts.append(opened)
        }
        let freeze = try Freeze(plan.filesystems, mounts, limitNanoseconds)
        let failure = unsafe ringmirror_freeze_hold(freeze.handle)
        guard failure != 0 else { return freeze }
        let error = freeze.error(failure)
        var patience = Self.patience
        if case .hung = error { patience = Self.patienceWithHung }
        let left = freeze.thaw(patience).stillFrozen.filter { one in
            // It will be thawed when its disk answers.
            if case .hung(one) = error { false } else { true }
        }
        guard left.isEmpty else { throw .stillFrozen(left) }
        throw error
    }

    private init(
        _ filesystems: [MountedFilesystem], _ mounts: [Descriptor], _ limit: Int64
    ) throws(FreezeError) {
        let files = mounts.map(\.raw)
        var made: OpaquePointer?
        let failure = unsafe ringmirror_freeze_start(files, files.count, limit, &made)
        guard failure == 0, let made = unsafe made else {
            throw .helpers(code: Errno(rawValue: failure))
        }
        self.filesystems = filesystems
        self.mounts = mounts
        unsafe handle = made
    }

    deinit {
        thaw()
        unsafe ringmirror_freeze_close(handle)
    }

    /// What keeps the filesystems from being frozen.
    private func error(_ failure: CInt) -> FreezeError {
        for (index, filesystem) in filesystems.enumerated() {
            var code: CInt = 0
            let state = unsafe ringmirror_freeze_state(handle, index, &code)
            if state == ringmirror_freeze_refused {
                switch Errno(rawValue: code) {
                case .resourceBusy: return .alreadyFrozen(filesystem)
                case .notPermitted, .permissionDenied: return .notPermitted(filesystem)
                case .notSupported, .notSupportedOnSocket, .inappropriateIOCTLForDevice:
                    return .unsupported(filesystem)
                case let code: return .failed(filesystem, code: code)
                }
            }
            if state == ringmirror_freeze_at_work { return .hung(filesystem) }
        }
        if failure == ETIMEDOUT, let first = filesystems.first { return .hung(first) }
        return .helpers(code: Errno(rawValue: failure))
    }

    /// Whether nothing of ours has thawed any of them. It waits for nothing.
    package var isHeld: Bool {
        guard span.withLock({ $0 == nil }) else { return false }
        return unsafe ringmirror_freeze_is_held(handle) != 0
    }

    /// Asks the kernel about each of them, so that one is noticed that something else has thawed.
    /// To be asked last, before `thaw`.
    package func isStillFrozen() -> Bool {
        guard span.withLock({ $0 == nil }) else { return false }
        return unsafe ringmirror_freeze_check(handle) != 0
    }

    /// Thaws all in the reverse order. It may be called more than once.
    @discardableResult
    package func thaw() -> FreezeSpan { thaw(Self.patience) }

    @discardableResult
    private func thaw(_ patience: Int64) -> FreezeSpan {
        span.withLock { span in
            if let span { return span }
            _ = unsafe ringmirror_freeze_thaw(handle, patience)
            let found = FreezeSpan(
                nanoseconds: unsafe ringmirror_freeze_nanoseconds(handle), endedEarly: endedEarly,
                stillFrozen: stillFrozen)
            span = found
            return found
        }
    }

    /// The process that thaws.
    var watchdog: CInt { unsafe ringmirror_freeze_watchdog(handle) }

    private var endedEarly: EarlyEnd? {
        let cause = unsafe ringmirror_freeze_cause(handle)
        if cause == ringmirror_thaw_none || cause == ringmirror_thaw_asked { return nil }
        if cause == ringmirror_thaw_limit { return .limit }
        return cause == ringmirror_thaw_foreign ? .thawedByOther : .helperDied
    }

    private var stillFrozen: [MountedFilesystem] {
        filesystems.enumerated().filter { index, _ in
            var code: CInt = 0
            let state = unsafe ringmirror_freeze_state(handle, index, &code)
            return state == ringmirror_freeze_frozen || state == ringmirror_freeze_stuck
                || state == ringmirror_freeze_at_work
        }.map(\.element)
    }
}

/// How a freeze has ended.
package struct FreezeSpan: Sendable, Equatable {
    /// From the beginning of the first freeze to the end of the last thaw: writers waited for that
    /// at most.
    package let nanoseconds: Int64
    /// Nil: it was held until it was thawed on purpose. Else the filesystems were written before.
    package let endedEarly: EarlyEnd?
    /// What could not be thawed.
    package let stillFrozen: [MountedFilesystem]
}

/// Why filesystems were thawed before their time.
package enum EarlyEnd: Sendable, Equatable {
    case limit
    case helperDied
    case thawedByOther
}
