internal import DirtyBitmap

/// A bitmap that is never changed, so that references to it can be kept.
final class FixedBits: Sendable {
    let bits: DirtyBitmap

    init(_ bits: consuming DirtyBitmap) { self.bits = bits }
}
