/// A device number as the kernel prints it, such as 8:1.
public struct DeviceNumber: Hashable, Sendable, Codable, CustomStringConvertible {
    /// The driver's number.
    public let major: UInt32
    /// The device's number at its driver.
    public let minor: UInt32

    /// A device number of these parts.
    public init(major: UInt32, minor: UInt32) {
        self.major = major
        self.minor = minor
    }

    /// Parses `8:1`, the form of sysfs and mountinfo; nil for anything else.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else {
            return nil
        }
        self.init(major: major, minor: minor)
    }

    /// Undoes the encoding of `dev_t`, which the loop driver hands out as a number.
    package init(encoded: UInt64) {
        major = UInt32((encoded >> 8) & 0xfff) | UInt32(truncatingIfNeeded: encoded >> 32) & ~0xfff
        minor = UInt32(encoded & 0xff) | UInt32(truncatingIfNeeded: encoded >> 12) & ~0xff
    }

    /// Filesystems that stand on no single device (btrfs, tmpfs, overlay) carry major 0.
    var isAnonymous: Bool { major == 0 }

    /// Such as `8:1`.
    public var description: String { "\(major):\(minor)" }
}
