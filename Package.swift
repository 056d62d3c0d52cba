// swift-tools-version: 6.2
import PackageDescription

/// `make test` sets this variable. All modules are optimized then, and the tests that compute much:
/// they try many random inputs, and take a tenth of the time. Assertions stay on. Other tests are
/// not optimized: they would take longer to compile, and not be faster.
let isOptimized = Context.environment["RINGMIRROR_OPTIMIZE_TESTS"] != nil
let optimized: [SwiftSetting] =
    isOptimized
    ? [.unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug))] : []

/// Every Swift target of ours: strict memory safety, and warnings are errors.
let strictSettings: [SwiftSetting] =
    optimized + [
        .swiftLanguageMode(.v6),
        .strictMemorySafety(),
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ]

/// Tests and their support code may use Foundation and plain pointers: no strict memory safety.
let testSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

/// Without it Glibc's module lacks half of what Linux has. Users of the library build without it, so
/// that no header of ours may need it.
let gnuSource: [CSetting] = [.define("_GNU_SOURCE")]

let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(
        name: name, dependencies: dependencies, cSettings: gnuSource, swiftSettings: strictSettings)
}

/// What the kernel's tracking of disks needs is left out without it: see `CBPF`.
let tracking = "Tracking"

/// A library of the system behind functions of ours. Their headers read none of the system's, which
/// the toolchain's modules own: see the rule `headers` of TidyTests.
func libraryShim(_ name: String, _ library: String) -> Target {
    .target(name: name, linkerSettings: [.linkedLibrary(library)])
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency], computes: Bool = false
) -> Target {
    .testTarget(
        name: name, dependencies: ["TestSupport"] + dependencies, cSettings: gnuSource,
        swiftSettings: testSettings + (computes ? optimized : []))
}

let package = Package(
    name: "ringmirror",
    products: [
        .library(name: "RingMirror", targets: ["RingMirror"]),
        .executable(name: "ringmirror", targets: ["RingMirrorCLI"]),
    ],
    traits: [
        .default(enabledTraits: [tracking]),
        .trait(
            name: tracking,
            description: "Disks are tracked by the kernel, through libbpf."),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
    ],
    targets: [
        libraryShim("CLiburing", "uring"),
        libraryShim("CBlkid", "blkid"),
        libraryShim("CZlib", "z"),
        libraryShim("CZstd", "zstd"),
        .target(
            name: "CBPF", exclude: ["bpf"],
            cSettings: [.define("RINGMIRROR_TRACKING", .when(traits: [tracking]))],
            linkerSettings: [.linkedLibrary("bpf", .when(traits: [tracking]))]),
        .target(name: "CLinux", dependencies: []),
        .target(name: "CProcess", dependencies: []),

        module("DirtyBitmap", []),
        module("ChangeMap", ["DirtyBitmap"]),
        module("Ring", ["CLiburing", "CLinux"]),
        module("BlockStorage", ["CLinux", "CBlkid", "DirtyBitmap", "Ring", systemPackage]),
        module(
            "QCOW2", ["BlockStorage", "DirtyBitmap", "CZlib", "CZstd", systemPackage]),
        module("BitmapStore", ["CLinux", "DirtyBitmap", "BlockStorage", systemPackage]),
        module(
            "KernelTracking", ["CBPF", "CLinux", "DirtyBitmap", "BlockStorage", systemPackage]),
        module("Freezing", ["CLinux", "BlockStorage", systemPackage]),
        module(
            "MirrorEngine",
            [
                "DirtyBitmap", "Ring", "BlockStorage", "QCOW2", "BitmapStore", "KernelTracking",
                "Freezing", systemPackage,
                .product(name: "Logging", package: "swift-log"),
            ]),
        module(
            "RingMirror",
            [
                "DirtyBitmap", "BlockStorage", "QCOW2", "BitmapStore", "ChangeMap", "MirrorEngine",
                "KernelTracking", "Freezing", "Ring", systemPackage,
            ]),
        .executableTarget(
            name: "RingMirrorCLI",
            dependencies: [
                "RingMirror", "CProcess", systemPackage,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            cSettings: gnuSource, swiftSettings: strictSettings),

        .target(
            name: "TestSupport", dependencies: ["Ring", systemPackage], path: "Tests/TestSupport",
            cSettings: gnuSource, swiftSettings: testSettings + optimized),
        tests("DirtyBitmapTests", ["DirtyBitmap"], computes: true),
        tests("ChangeMapTests", ["ChangeMap", "DirtyBitmap"]),
        tests("RingTests", ["Ring", "CLiburing"]),
        tests("BlockStorageTests", ["BlockStorage", systemPackage]),
        tests(
            "KernelTrackingTests", ["KernelTracking", "DirtyBitmap", "BlockStorage", systemPackage]),
        tests("FreezingTests", ["Freezing", "BlockStorage", systemPackage]),
        tests(
            "QCOW2Tests", ["QCOW2", "DirtyBitmap", "BlockStorage", systemPackage], computes: true),
        tests(
            "BitmapStoreTests", ["BitmapStore", "DirtyBitmap", "BlockStorage", systemPackage],
            computes: true),
        tests(
            "MirrorEngineTests",
            [
                "MirrorEngine", "DirtyBitmap", "Ring", "BlockStorage", systemPackage,
                .product(name: "Logging", package: "swift-log"),
            ], computes: true),
        tests(
            "HistoryTests",
            [
                "RingMirrorCLI", "MirrorEngine", "BitmapStore", "QCOW2", "DirtyBitmap",
                "BlockStorage", systemPackage,
            ], computes: true),
        tests("IntegrationTests", ["RingMirrorCLI", "RingMirror", systemPackage]),
        tests("RingMirrorCLITests", ["RingMirrorCLI", "RingMirror"]),
        tests("TidyTests", []),
        // Built as a user of the library is: with none of our settings but the strictest imports.
        .testTarget(
            name: "LibraryTests", dependencies: ["RingMirror"],
            swiftSettings: [.enableUpcomingFeature("MemberImportVisibility")]),
    ]
)
