/// The block sizes that a tool can have made a map with.
///
/// Tools count in sectors, and people copy what they print. A number that is too small for a block
/// is most likely a count of sectors, and taken as bytes it would leave out what changed.
struct BlockSizeRule {
    /// What has blocks of these sizes, for messages.
    let tool: String
    /// The smallest block, in bytes.
    let least: Int64
    /// The largest block, in bytes.
    let most: Int64
    /// Every block is a multiple of this, in bytes.
    let step: Int64

    /// dm-era takes any number of sectors from 8 on.
    static let era = BlockSizeRule(tool: "dm-era", least: 4096, most: .max, step: 512)
    /// dm-thin takes 64 KiB to 1 GiB, in steps of 64 KiB.
    static let thin = BlockSizeRule(tool: "dm-thin", least: 64 << 10, most: 1 << 30, step: 64 << 10)
    /// bmaptool takes the block size of a file system.
    static let bmap = BlockSizeRule(tool: "bmaptool", least: 512, most: 1 << 30, step: 512)
    /// A bit of DRBD's stands for 4 KiB or, since 9.3, for up to 1 MiB.
    static let drbd = BlockSizeRule(tool: "DRBD", least: 4096, most: 1 << 20, step: 4096)

    /// - Parameters:
    ///   - bytes: the size of a block.
    ///   - place: where the file says it; nil if the caller did.
    /// - Throws: `option` for a size that the caller gave, `malformed` for one in the file.
    func check(
        _ bytes: Int64, _ source: ChangeMapInput, at place: ChangeMapInput.Place?
    ) throws(ChangeMapError) {
        guard bytes < least || bytes > most || bytes % step != 0 else { return }
        let problem =
            bytes < least
            ? "blocks of \(bytes) bytes are smaller than any of \(tool)'s, which have \(least) or "
                + "more"
            : "\(tool) has no blocks of \(bytes) bytes: they are multiples of \(step)"
                + (most == .max ? "" : " up to \(most)")
        guard place == nil else { throw source.malformed(place, problem) }
        let (sectors, overflows) = bytes.multipliedReportingOverflow(by: 512)
        throw source.error(
            .option(.blockSize), problem + (bytes < least ? " (is that sectors?)" : ""),
            remedy: bytes < least && !overflows
                ? "Give the block size in bytes: \(bytes) sectors are \(sectors) bytes."
                : "Give the block size in bytes.")
    }
}
