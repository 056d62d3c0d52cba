// swift-tools-version: 6.2
import PackageDescription

/// Most of what is measured here has `package` access, so the benchmarks claim to be of the
/// package above, whose identity is the name of its folder.
let packageName: String = {
    let folder = Context.packageDirectory.split(separator: "/").dropLast(2).last ?? "ringmirror"
    return String(
        folder.lowercased().unicodeScalars.map { scalar in
            switch scalar {
            case "a"..."z", "0"..."9": Character(scalar)
            default: "_"
            }
        })
}()

/// Benchmarks of single functions, by `make micro`. A package of its own, so that neither the
/// library nor its users depend on what measures it.
let package = Package(
    name: "Micro",
    dependencies: [
        .package(name: "ringmirror", path: "../.."),
        // Its traits need two more packages to count allocations, which CAllocationCount does.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .target(name: "CAllocationCount"),
        .executableTarget(
            name: "HotPaths",
            dependencies: [
                "CAllocationCount",
                .product(name: "RingMirror", package: "ringmirror"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            // The benchmark package looks for targets in a folder of this name.
            path: "Benchmarks/HotPaths",
            packageAccess: false,
            swiftSettings: [
                .swiftLanguageMode(.v6),
                .treatAllWarnings(as: .error),
                .enableUpcomingFeature("ExistentialAny"),
                .unsafeFlags(["-package-name", packageName]),
            ],
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    ]
)
