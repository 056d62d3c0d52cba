extension DeviceIdentity {
    /// A file name for what is kept about this disk, made of the facts that a change of its device
    /// name or a reboot leaves alone, as far as it has any.
    ///
    /// At most 200 bytes, letters, digits, dots, dashes and underscores only. It ends with a hash
    /// of the facts, because two disks may differ only in what was cut off or replaced. The size
    /// is not part of it: a disk that was resized finds its file, and can be told so.
    public var storeName: String {
        let facts = lastingFacts
        let text = String(decoding: facts.utf8.map(Self.safeByte).prefix(180), as: UTF8.self)
        let hash = Self.hash(facts)
        let digits = String(hash, radix: 16)
        return text + "-" + String(repeating: "0", count: 16 - digits.count) + digits
    }

    private var lastingFacts: String {
        var facts: [String]
        if let wwn {
            facts = ["wwn", wwn]
        } else if let serial {
            facts = ["disk", model ?? "", serial]
        } else if let uuid {
            facts = ["uuid", uuid]
        } else if let backingDevice {
            facts = ["loop", backingDevice.description]
            if let backingInode { facts.append(String(backingInode)) }
            facts.append(String(backingOffset ?? 0))
        } else if let deviceNumber {
            facts = ["device", deviceNumber.description]
        } else {
            facts = ["image", filesystemDevice?.description ?? "", inode.map(String.init) ?? ""]
        }
        if let partition { facts.append("part\(partition)-\(partitionStart ?? 0)") }
        return facts.joined(separator: "-")
    }

    private static func safeByte(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "_"):
            byte
        default: UInt8(ascii: "_")
        }
    }

    /// FNV-1a: it only has to tell a handful of disks apart.
    private static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
