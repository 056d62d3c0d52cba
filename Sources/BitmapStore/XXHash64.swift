/// XXH64 with seed 0, from its published specification: a fast checksum of 64 bits. It finds
/// damage, not forgery.
///
/// - Complexity: O(bytes).
func xxHash64(_ bytes: Span<UInt8>, seed: UInt64 = 0) -> UInt64 {
    var hash: UInt64
    var position = 0
    if bytes.count >= 32 {
        var lanes = (
            seed &+ prime1 &+ prime2, seed &+ prime2, seed, seed &- prime1
        )
        while bytes.count &- position >= 32 {
            lanes.0 = round(lanes.0, word(bytes, position))
            lanes.1 = round(lanes.1, word(bytes, position &+ 8))
            lanes.2 = round(lanes.2, word(bytes, position &+ 16))
            lanes.3 = round(lanes.3, word(bytes, position &+ 24))
            position &+= 32
        }
        hash =
            rotate(lanes.0, 1) &+ rotate(lanes.1, 7) &+ rotate(lanes.2, 12)
            &+ rotate(lanes.3, 18)
        hash = merge(hash, lanes.0)
        hash = merge(hash, lanes.1)
        hash = merge(hash, lanes.2)
        hash = merge(hash, lanes.3)
    } else {
        hash = seed &+ prime5
    }
    hash &+= UInt64(bytes.count)
    return avalanche(tail(hash, bytes, from: position))
}

func xxHash64(_ bytes: [UInt8]) -> UInt64 { xxHash64(bytes.span) }

private let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
private let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
private let prime3: UInt64 = 0x1656_67B1_9E37_79F9
private let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
private let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

/// The fewer than 32 bytes behind the last whole stripe.
private func tail(_ start: UInt64, _ bytes: Span<UInt8>, from first: Int) -> UInt64 {
    var hash = start
    var position = first
    while bytes.count &- position >= 8 {
        hash ^= round(0, word(bytes, position))
        hash = rotate(hash, 27) &* prime1 &+ prime4
        position &+= 8
    }
    if bytes.count &- position >= 4 {
        hash ^= half(bytes, position) &* prime1
        hash = rotate(hash, 23) &* prime2 &+ prime3
        position &+= 4
    }
    while position < bytes.count {
        hash ^= UInt64(bytes[position]) &* prime5
        hash = rotate(hash, 11) &* prime1
        position &+= 1
    }
    return hash
}

@inline(__always)
private func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
    rotate(lane &+ input &* prime2, 31) &* prime1
}

private func merge(_ hash: UInt64, _ lane: UInt64) -> UInt64 {
    (hash ^ round(0, lane)) &* prime1 &+ prime4
}

private func avalanche(_ start: UInt64) -> UInt64 {
    var hash = start
    hash ^= hash &>> 33
    hash &*= prime2
    hash ^= hash &>> 29
    hash &*= prime3
    return hash ^ (hash &>> 32)
}

@inline(__always)
private func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
    value &<< count | value &>> (64 &- count)
}

/// Written out: a loop over the bytes costs a debug build three times as much.
@inline(__always)
private func word(_ bytes: Span<UInt8>, _ at: Int) -> UInt64 {
    half(bytes, at) | half(bytes, at &+ 4) &<< 32
}

@inline(__always)
private func half(_ bytes: Span<UInt8>, _ at: Int) -> UInt64 {
    UInt64(bytes[at]) | UInt64(bytes[at &+ 1]) &<< 8 | UInt64(bytes[at &+ 2]) &<< 16
        | UInt64(bytes[at &+ 3]) &<< 24
}
