internal import SystemPackage

/// How long an opening waited for the writes of a process that has ended.
///
/// A process that was killed with requests in flight is gone before they are: the kernel takes its
/// io_uring down on a thread of its own, and a device that is slow or stuck keeps files, claims and
/// locks until it has answered. What is opened before that would be written once more, later.
struct Landing: Equatable {
    private(set) var milliseconds: UInt32 = 0

    /// Descriptors of udev and losetup are gone in a moment: that long is waited in any case.
    static let momentMilliseconds: UInt32 = 250
    /// How long is waited where no living process has the storage open.
    static let limitMilliseconds: UInt32 = 10_000

    /// Waits until `isFree`: for a moment in any case, and up to the limit for as long as no living
    /// process is in the way. The observer of `StorageWait` hears of a wait beyond the moment.
    ///
    /// - Returns: whether it became free.
    mutating func wait<Failure>(
        for path: FilePath, moment: UInt32 = momentMilliseconds, isOrphaned: () -> Bool,
        until isFree: () throws(Failure) -> Bool
    ) throws(Failure) -> Bool {
        let start = ContinuousClock.now
        var waited: UInt32 = 0
        var isTold = false
        while try !isFree() {
            // A look at all processes may take longer than a pause: that counts as well.
            let isOver = ContinuousClock.now - start >= .milliseconds(Self.limitMilliseconds)
            guard waited < moment || (!isOver && isOrphaned()) else {
                return false
            }
            if waited >= moment && !isTold {
                StorageWait.tell(
                    "\(path) is still held, by no process that can be seen: waiting up to "
                        + "\(Self.limitMilliseconds / 1000) s, in case writes of one that has "
                        + "ended have yet to land")
                isTold = true
            }
            // After the first moment each look is one at all processes.
            let pause: UInt32 = waited < moment ? 25 : 100
            SystemCalls.sleep(milliseconds: pause)
            waited += pause
        }
        if waited > moment { milliseconds += waited }
        return true
    }

    func notes(_ path: FilePath) -> [String] {
        guard milliseconds > 0 else { return [] }
        let tenths = (milliseconds + 50) / 100
        return [
            "\(path) was still held for a process that had ended: "
                + "\(tenths / 10).\(tenths % 10) s were waited for its writes to land"
        ]
    }
}

extension Landing {
    /// Whether nothing that can be seen has the storage open or stands on it: nothing that writes,
    /// this process included, or nothing at all if it is claimed.
    ///
    /// - Parameter path: of a file, without links in it.
    static func isOrphaned(
        _ identity: NodeIdentity, at path: String? = nil, isClaimed: Bool, _ view: SystemView
    ) -> Bool {
        guard let survey = try? Survey.take(view) else { return false }
        let findings = UseGuard(survey: survey).findings(on: identity, at: path)
        guard findings.uses.isEmpty else { return false }
        if let isWriter = ProcessGuard.ownAccess(to: findings.reach, view),
            isClaimed || isWriter
        {
            return false
        }
        if isClaimed { return ProcessGuard.openers(of: findings.reach, view).isEmpty }
        return ProcessGuard.certainWriters(to: findings.reach, view).isEmpty
    }
}
