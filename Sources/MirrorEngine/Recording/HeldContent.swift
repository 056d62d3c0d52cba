internal import BlockStorage
internal import QCOW2
internal import SystemPackage

/// The disk whose content a target has before a job writes to it: what bitmaps know of that disk,
/// they know of the target.
///
/// A new overlay reads as what it stands on, and every other target as earlier jobs have left it.
struct HeldContent {
    let path: FilePath
    let resolvedPath: String
    let identity: DeviceIdentity
    /// It is not the target itself.
    let isBelow: Bool
    private let devices: ArraySlice<StorageDevice>

    init(of target: Disk) {
        guard target.isNewOverlay, let image = target.image, let base = image.layers[1].device
        else {
            path = target.path
            resolvedPath = target.resolvedPath
            identity = target.identity
            isBelow = false
            devices = target.devices[...]
            return
        }
        path = base.path
        resolvedPath = base.resolvedPath
        identity = base.identity.withSize(image.layers[1].size)
        isBelow = true
        devices = target.devices.dropFirst(image.top.devices.count)
    }

    /// What became of its files since `earlier`, another look at all of them.
    func evidence(since earlier: [WriteWitness]) -> WriteEvidence {
        devices.evidence(since: earlier)
    }
}
