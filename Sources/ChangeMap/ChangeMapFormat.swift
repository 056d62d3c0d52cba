/// The change maps that can be read, by the names that the command line gives them.
///
/// docs/change-maps.md says how each is made, what its entries and its gaps mean, and where it
/// lies.
public enum ChangeMapFormat: String, CaseIterable, Sendable {
    /// GNU ddrescue's mapfile: what isn't finished has to be copied. Can be written.
    case ddrescue
    /// XML of `era_invalidate --written-since`; needs `blockSize`.
    case era
    /// XML of `thin_delta`, with or without `--verbose`.
    case thinDelta = "thin-delta"
    /// XML of `thin_dump`; needs `thinDevice` if the pool has several devices.
    case thinDump = "thin-dump"
    /// The block map of bmaptool, versions 1.2 to 2.0.
    case bmap
    /// `qemu-img map --output=json`, as allocation.
    case qemuMap = "qemu-map"
    /// The same of an export with `x-dirty-bitmap`, where `data: false` means dirty. Can be
    /// written.
    case qemuDirty = "qemu-dirty"
    /// `nbdinfo --map`, text or JSON, of the context base:allocation.
    case nbdinfo
    /// `nbdinfo --map=qemu:dirty-bitmap:NAME`, text or JSON.
    case nbdinfoDirty = "nbdinfo-dirty"
    /// The domain map of `partclone -D`: what the filesystem uses has to be copied.
    case partclone
    /// `drbdmeta dump-md`, v08 or v09; needs `peer` if there are several.
    case drbd
    /// `rbd export-diff`, v1 or v2; the data in it is skipped.
    case rbdDiff = "rbd-diff"
    /// `filefrag -v` of one file.
    case filefrag
    /// Lines of offset and length. Can be written.
    case ranges
    /// Our own export of a bitmap. Can be written.
    case ringmirror
}
