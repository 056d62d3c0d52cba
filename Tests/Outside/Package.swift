// swift-tools-version: 6.2
import PackageDescription

/// A program outside of the tree that uses the library: none of our settings, and none of our
/// flags. `make outside` builds it from nothing, because some conflicts show only there.
let package = Package(
    name: "Outside",
    dependencies: [.package(name: "ringmirror", path: "../..")],
    targets: [
        .executableTarget(
            name: "Outside", dependencies: [.product(name: "RingMirror", package: "ringmirror")])
    ]
)
