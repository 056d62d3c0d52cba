import ChangeMap

extension Sample {
    /// Every format at least once.
    static let all = text + xml + json + binary

    static let text: [Sample] = [
        Sample("ddrescue", Text.ddrescue, 1 << 22, .ddrescue, ["skip 0..<4194304"]),
        Sample(
            "ddrescuelog", Text.ddrescuelog, 1 << 20, .ddrescue,
            ["copy 0..<196608", "skip 196608..<327680", "copy 327680..<1048576"]),
        Sample(
            "partclone", Text.partclone, 1 << 26, .partclone,
            [
                "copy 0..<4490240", "skip 4490240..<8389632", "copy 8389632..<8653824",
                "skip 8653824..<16778240", "copy 16778240..<20972544",
                "skip 20972544..<25166848", "copy 25166848..<25431040",
                "skip 25431040..<41944064", "copy 41944064..<42208256",
                "skip 42208256..<58721280", "copy 58721280..<58985472",
                "skip 58985472..<67108864",
            ]),
        Sample(
            "drbd v08", Text.drbd08, 130992 * 512, .drbd,
            ["copy 0..<4096", "copy 262144..<524288"]),
        Sample(
            "drbd v09, peer 1", Text.drbd09, 130992 * 512, .drbd, options: .init(peer: 1),
            ["copy 0..<4096", "copy 262144..<524288"]),
        Sample(
            "drbd v09, peer 4", Text.drbd09, 130992 * 512, .drbd, options: .init(peer: 4),
            ["copy 16384..<32768", "copy 262144..<1048576"]),
        Sample(
            "filefrag", Text.filefrag, 1 << 24, .filefrag, gaps: .zero,
            ["copy 262144..<393216", "copy 4096000..<4100096"]),
        Sample(
            "nbdinfo text", Text.nbdText, 1 << 24, .nbdinfo,
            [
                "zero 0..<262144", "copy 262144..<393216", "zero 393216..<4096000",
                "copy 4096000..<4100096", "zero 4100096..<16777216",
            ]),
        Sample(
            "ranges", "# by hand\n1M 0x1000\n\n0 512 # first\n", 1 << 24, .ranges,
            ["copy 0..<512", "copy 1048576..<1052672"]),
        Sample(
            "ringmirror",
            "ringmirror bitmap 1\nname a%20b\nsize 16777216\ngranularity 65536\n0 65536\nend 1\n",
            1 << 24, .ringmirror, ["copy 0..<65536"]),
    ]

    static let xml: [Sample] = [
        Sample(
            "era 0.9", Text.era09, 1 << 24, .era, options: .init(blockSize: 65536),
            ["copy 458752..<524288", "copy 1310720..<1966080", "copy 6553600..<6750208"]),
        Sample(
            "era 1.x", Text.era1, 1 << 24, .era, options: .init(blockSize: 65536),
            ["copy 458752..<524288", "copy 1310720..<1966080", "copy 6553600..<6750208"]),
        Sample(
            "thin_delta", Text.thinDelta, 1 << 24, .thinDelta,
            ["skip 0..<655360", "copy 655360..<1310720", "copy 2621440..<2949120"]),
        Sample(
            "thin_delta --verbose", Text.thinDeltaVerbose, 1 << 24, .thinDelta,
            ["skip 0..<655360", "copy 655360..<1310720", "copy 2621440..<2949120"]),
        Sample(
            "thin_dump, device 1", Text.thinDump, 1 << 24, .thinDump,
            options: .init(thinDevice: 1), gaps: .zero, ["copy 0..<1310720"]),
        Sample(
            "thin_dump, device 2", Text.thinDump, 1 << 24, .thinDump,
            options: .init(thinDevice: 2), gaps: .zero,
            ["copy 0..<1310720", "copy 2621440..<2949120"]),
        Sample(
            "bmap 2.0", Text.bmap, 1 << 24, .bmap,
            ["copy 262144..<393216", "copy 4096000..<4100096"]),
        Sample("bmap 1.3", Text.bmap13, 10000, .bmap, ["copy 0..<4096", "copy 8192..<10000"]),
        Sample("bmap 1.2", Text.bmap12, 10000, .bmap, ["copy 8192..<10000"]),
    ]

    static let json: [Sample] = [
        Sample(
            "qemu-img map, raw", Text.qemuRaw, 1 << 24, .qemuMap,
            [
                "zero 0..<262144", "copy 262144..<393216", "zero 393216..<4096000",
                "copy 4096000..<4100096", "zero 4100096..<16777216",
            ]),
        Sample(
            "qemu-img map, overlay", Text.qemuOverlay, 1 << 24, .qemuMap,
            [
                "copy 0..<131072", "zero 131072..<2097152", "copy 2097152..<2162688",
                "zero 2162688..<4194304", "copy 4194304..<4296704", "zero 4296704..<16777216",
            ]),
        Sample(
            "qemu-img map, bitmap", Text.qemuDirty, 1 << 24, .qemuDirty,
            options: .init(format: .qemuDirty),
            ["skip 0..<4194304", "copy 4194304..<4325376", "skip 4325376..<16777216"]),
        Sample(
            "nbdinfo JSON", Text.nbdMap, 1 << 24, .nbdinfo,
            [
                "zero 0..<262144", "copy 262144..<393216", "zero 393216..<4096000",
                "copy 4096000..<4100096", "zero 4100096..<16777216",
            ]),
        Sample(
            "nbdinfo, bitmap", Text.nbdDirty, 1 << 24, .nbdinfoDirty,
            ["skip 0..<4194304", "copy 4194304..<4325376", "skip 4325376..<16777216"]),
    ]

    static let binary: [Sample] = [1, 2].map { version in
        Sample(
            "rbd diff v\(version)", bytes: RBDBuilder.typical(version: version), 1 << 20, .rbdDiff,
            ["zero 0..<8192", "copy 65536..<70144"])
    }
}
