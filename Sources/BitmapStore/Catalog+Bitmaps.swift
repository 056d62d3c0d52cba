internal import BlockStorage
internal import DirtyBitmap

// What bitmaps of the store and those in an image have in common: marks, targets and jobs.

extension Catalog {
    func index(of reference: BitmapReference) -> BitmapIndex? {
        switch reference {
        case .stored(let name): index(ofBitmap: name).map { .stored($0) }
        case .image(let name):
            imageBitmaps.firstIndex { $0.name == name }.map { .image($0) }
        }
    }

    func index(ofBitmapNumbered id: UInt64) -> BitmapIndex? {
        if let index = bitmaps.firstIndex(where: { $0.id == id }) { return .stored(index) }
        return imageBitmaps.firstIndex { $0.id == id }.map { .image($0) }
    }

    func id(_ index: BitmapIndex) -> UInt64 {
        switch index {
        case .stored(let index): bitmaps[index].id
        case .image(let index): imageBitmaps[index].id
        }
    }

    func reference(_ index: BitmapIndex) -> BitmapReference {
        switch index {
        case .stored(let index): .stored(bitmaps[index].name)
        case .image(let index): .image(imageBitmaps[index].name)
        }
    }

    func reference(toBitmapNumbered id: UInt64?) -> BitmapReference? {
        id.flatMap { index(ofBitmapNumbered: $0) }.map { reference($0) }
    }

    /// The marks; of a bitmap in an image, those that it had when it was last looked at.
    subscript(index: BitmapIndex) -> BitTree {
        get {
            switch index {
            case .stored(let index): bitmaps[index].bits
            case .image(let index): imageBitmaps[index].settled
            }
        }
        set {
            switch index {
            case .stored(let index): bitmaps[index].bits = newValue
            case .image(let index): imageBitmaps[index].settled = newValue
            }
        }
    }

    /// The entries of what can be this target, among those of one bitmap or of all.
    func targets(matching identity: DeviceIdentity, ofBitmap id: UInt64? = nil) -> [Int] {
        targets.indices.filter {
            (id == nil || targets[$0].bitmap == id)
                && identity.difference(from: targets[$0].identity) == nil
        }
    }

    /// The newest success of a bitmap.
    func lastSuccess(ofBitmap id: UInt64) -> LastSuccess? {
        targets.last { $0.bitmap == id && $0.success != nil }?.lastSuccess
    }
}

/// Where a bitmap is in the catalog.
enum BitmapIndex: Equatable {
    case stored(Int)
    case image(Int)
}

extension TargetEntry {
    var lastSuccess: LastSuccess? {
        success.map {
            LastSuccess(
                time: $0.time, target: identity, targetPath: path, bytesCopied: $0.bytesCopied,
                mode: $0.mode, sourceWitness: $0.sourceWitness, targetWitness: witness)
        }
    }
}
