/// Violations that were there when a rule was made, or that were let in knowingly: how many a file
/// may have. A number may go down, and a line may go; neither may come or go up.
enum Ratchet {
    /// The name under which what Package.swift does wrong is counted.
    static let manifest = "Package.swift agrees with the sources"

    static let allowed: [String: [String: Int]] = [
        Rule.lineLength.name: [:],
        Rule.documentation.name: [
            "Sources/BlockStorage/DeviceIdentity.swift": 4,
            "Sources/BlockStorage/Extents.swift": 4,
            "Sources/BlockStorage/GuardRefusal.swift": 6,
            "Sources/BlockStorage/Options.swift": 4,
            "Sources/BlockStorage/StorageDevice.swift": 6,
            "Sources/MirrorEngine/Compare/CompareJob.swift": 7,
            "Sources/MirrorEngine/Job/FailureLog.swift": 3,
            "Sources/MirrorEngine/Job/MirrorOptions.swift": 4,
            "Sources/MirrorEngine/Job/MirrorReport.swift": 9,
        ],
    ]

    static func allowed(_ rule: String, _ path: String) -> Int { allowed[rule]?[path] ?? 0 }
}
