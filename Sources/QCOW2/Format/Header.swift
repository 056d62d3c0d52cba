package import BlockStorage
internal import DirtyBitmap

/// The header of a qcow2 image, with its extensions: what the first cluster of the file has.
///
/// Source: QEMU's docs/interop/qcow2.
package struct Header: Sendable, Equatable {
    /// 2 or 3.
    package var version = 3
    /// log2 of the bytes in a cluster, 9 to 21.
    package var clusterBits = 16
    /// Bytes of the disk in the image; need not be a multiple of anything.
    package var size: Int64 = 0
    package var l1EntryCount = 0
    package var l1Offset: Int64 = 0
    package var refcountTableOffset: Int64 = 0
    package var refcountTableClusters = 0
    package var snapshotCount = 0
    package var snapshotsOffset: Int64 = 0
    package var encryption: UInt32 = 0
    package var incompatible: IncompatibleFeatures = []
    package var compatible: CompatibleFeatures = []
    package var autoclear: AutoclearFeatures = []
    /// log2 of the bits in a refcount, 0 to 6.
    package var refcountOrder = 4
    package var compression = Compression.zlib
    /// What a later version has put behind the fields known here, to be kept.
    package var unknownFields: [UInt8] = []
    /// The name as the image has it: relative to the image's directory, mostly.
    package var backingFile: String?
    /// In the order of the file, the end marker left out.
    package var extensions: [HeaderExtension] = []

    package init() {}

    package var clusterSize: Int64 { 1 << Int64(clusterBits) }
    package var hasSubclusters: Bool { incompatible.contains(.extendedL2) }
    /// Bytes of an entry in an L2 table.
    package var l2EntrySize: Int64 { hasSubclusters ? 16 : 8 }
    package var l2EntryCount: Int64 { clusterSize / l2EntrySize }
    /// Bytes of the disk that one L2 table maps.
    package var l2Coverage: Int64 { clusterSize * l2EntryCount }
    /// Entries of the L1 table that the size needs.
    package var l1EntriesNeeded: Int { Int(size.dividedRoundingUp(by: l2Coverage)) }
    /// Entries of one refcount block.
    package var refcountsPerBlock: Int64 { (clusterSize * 8) >> Int64(refcountOrder) }

    /// Clusters that so many bytes take.
    func clusters(for bytes: Int64) -> Int { Int(bytes.dividedRoundingUp(by: clusterSize)) }

    /// Clusters that a table of so many 64-bit entries takes.
    func clusters(forEntries count: Int) -> Int { clusters(for: Int64(count) * 8) }

    /// The numbers of clusters side by side, of which the first is at an offset of the file.
    func clusters(at offset: Int64, count: Int) -> Range<Int64> {
        let first = offset >> Int64(clusterBits)
        return first..<(first + Int64(count))
    }

    package var backingFormat: String? { text(of: .backingFormat) }
    package var dataFile: String? { text(of: .dataFile) }

    package func data(of kind: HeaderExtension.Kind) -> [UInt8]? {
        extensions.first { $0.kind == kind }?.data
    }

    private func text(of kind: HeaderExtension.Kind) -> String? {
        data(of: kind).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Puts, replaces or (nil) takes away an extension.
    package mutating func set(_ kind: HeaderExtension.Kind, _ data: [UInt8]?) {
        let index = extensions.firstIndex { $0.kind == kind }
        switch (index, data) {
        case (let index?, let data?): extensions[index].data = data
        case (let index?, nil): extensions.remove(at: index)
        case (nil, let data?): extensions.append(HeaderExtension(kind: kind, data: data))
        case (nil, nil): break
        }
    }
}

extension Header {
    /// A header that leads to no bitmaps.
    var withoutBitmaps: Header {
        var header = self
        while header.data(of: .bitmaps) != nil { header.set(.bitmaps, nil) }
        header.autoclear.remove(.bitmaps)
        return header
    }
}

package struct IncompatibleFeatures: OptionSet, Sendable, Equatable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The refcounts may be stale.
    package static let dirty = IncompatibleFeatures(rawValue: 1 << 0)
    /// Something is known to be broken: not to be written.
    package static let corrupt = IncompatibleFeatures(rawValue: 1 << 1)
    package static let dataFile = IncompatibleFeatures(rawValue: 1 << 2)
    package static let compressionType = IncompatibleFeatures(rawValue: 1 << 3)
    package static let extendedL2 = IncompatibleFeatures(rawValue: 1 << 4)
    package static let known: IncompatibleFeatures = [
        .dirty, .corrupt, .dataFile, .compressionType, .extendedL2,
    ]
}

package struct CompatibleFeatures: OptionSet, Sendable, Equatable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let lazyRefcounts = CompatibleFeatures(rawValue: 1 << 0)
}

package struct AutoclearFeatures: OptionSet, Sendable, Equatable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The bitmaps extension is true.
    package static let bitmaps = AutoclearFeatures(rawValue: 1 << 0)
    /// The data file alone reads as the disk does.
    package static let rawDataFile = AutoclearFeatures(rawValue: 1 << 1)
    package static let known: AutoclearFeatures = [.bitmaps, .rawDataFile]
}

package struct HeaderExtension: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case backingFormat, featureNames, bitmaps, encryption, dataFile
        case unknown(UInt32)
    }

    package var kind: Kind
    package var data: [UInt8]

    package init(kind: Kind, data: [UInt8]) {
        self.kind = kind
        self.data = data
    }
}

extension HeaderExtension.Kind {
    private static let known: [Self] = [
        .backingFormat, .featureNames, .bitmaps, .encryption, .dataFile,
    ]

    init(_ magic: UInt32) {
        self = Self.known.first { $0.magic == magic } ?? .unknown(magic)
    }

    var magic: UInt32 {
        switch self {
        case .backingFormat: 0xe279_2aca
        case .featureNames: 0x6803_f857
        case .bitmaps: 0x2385_2875
        case .encryption: 0x0537_be77
        case .dataFile: 0x4441_5441
        case .unknown(let magic): magic
        }
    }
}
