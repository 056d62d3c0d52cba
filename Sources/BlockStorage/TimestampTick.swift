/// How finely the times of files tell two writes apart.
///
/// The kernel's clock for them ticks every few milliseconds, and some filesystems keep whole
/// seconds. Two writes in one tick leave the same time: what was written just now may be written
/// again without a trace.
enum TimestampTick {
    /// Waits until a write that follows moves the time of a file that was last written at
    /// `modified`, in nanoseconds since 1970.
    ///
    /// - Returns: whether that took any time.
    static func pass(after modified: Int64) -> Bool {
        let now = SystemCalls.wallTime
        let tick = length(keeping: modified)
        // A time in the future is moved by any write.
        guard modified <= now, modified > now - tick else { return false }
        SystemCalls.sleep(milliseconds: UInt32((tick - (now - modified)) / 1_000_000 + 1))
        return true
    }

    /// In nanoseconds.
    static func length(keeping modified: Int64) -> Int64 {
        // FAT has 2 s, ext4 with small inodes 1 s. That others have a whole second is rare.
        if modified % 1_000_000_000 == 0 { return 2_000_000_000 }
        return SystemCalls.clockTick
    }
}
