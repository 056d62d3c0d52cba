import Foundation
import Glibc

/// A compressed disk in memory. It has 4096-byte sectors, and can't be told from a real one.
public final class ZramDisk {
    public let path: String
    private let number: String

    /// Nil where the kernel has none to give.
    public init?(size: Int64) throws {
        guard
            let number = try? String(
                contentsOfFile: "/sys/class/zram-control/hot_add", encoding: .utf8)
        else { return nil }
        self.number = number.trimmingCharacters(in: .whitespacesAndNewlines)
        path = "/dev/zram\(self.number)"
        try Data("\(size)".utf8).write(
            to: URL(fileURLWithPath: "/sys/block/zram\(self.number)/disksize"))
        for _ in 0..<100 where access(path, F_OK) != 0 { usleep(10_000) }
    }

    deinit {
        // A claim that has just ended may hold it for a moment still.
        for _ in 0..<100 {
            let reset = Data("1".utf8)
            if (try? reset.write(to: URL(fileURLWithPath: "/sys/block/zram\(number)/reset"))) != nil
            {
                break
            }
            usleep(10_000)
        }
        try? Data(number.utf8).write(to: URL(fileURLWithPath: "/sys/class/zram-control/hot_remove"))
    }
}
