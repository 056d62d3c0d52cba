public import DirtyBitmap

extension ChangeMap {
    /// The coarsest granularity, at most 64 KiB, at which a bitmap marks exactly what the map says;
    /// coarser than that where the bitmap would get larger than 64 MiB.
    ///
    /// - Complexity: O(extents).
    public var exactGranularity: Granularity {
        var bounds: Int64 = 0
        forEachRange { range, meaning in
            guard meaning != .skip else { return }
            bounds |= range.lowerBound
            if range.upperBound != size { bounds |= range.upperBound }
        }
        var shift = min(max(bounds.trailingZeroBitCount, 9), 16)
        // 2^29 bits are 64 MiB.
        while shift < 31 && size >> Int64(shift) > 1 << 29 { shift += 1 }
        do { return try Granularity(bytes: 1 << Int64(shift)) } catch { return .default }
    }
}
