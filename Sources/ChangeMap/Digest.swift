/// A checksum that hashes blocks of 64 bytes into a few 32-bit words, as SHA-1 and SHA-256 do.
///
/// Written here because it only has to notice damage in small files: a cryptography package would
/// be a large guest for that. Not meant to keep secrets.
protocol Digest {
    init()

    /// The state, which after the last block is the result.
    var words: [UInt32] { get }

    /// Takes the next block, as 16 words.
    mutating func compress(_ block: [UInt32])
}

extension Digest {
    /// The checksum of `parts` one after the other, in lower-case hexadecimal digits.
    static func hexadecimal(of parts: [ArraySlice<UInt8>]) -> String {
        var digest = Self()
        var block: [UInt32] = []
        block.reserveCapacity(16)
        var word: UInt32 = 0
        var count: UInt64 = 0
        func take(_ byte: UInt8) {
            word = word << 8 | UInt32(byte)
            count += 1
            guard count % 4 == 0 else { return }
            block.append(word)
            guard block.count == 16 else { return }
            digest.compress(block)
            block.removeAll(keepingCapacity: true)
        }
        for part in parts { for byte in part { take(byte) } }
        // One bit, zeros, and the length in bits end the last block.
        let bitCount = count * 8
        take(0x80)
        while count % 64 != 56 { take(0) }
        for shift in stride(from: 56, through: 0, by: -8) {
            take(UInt8(truncatingIfNeeded: bitCount >> UInt64(shift)))
        }
        return digest.words.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.utf8.count) + digits
        }.joined()
    }
}

extension UInt32 {
    fileprivate func rotated(left count: UInt32) -> UInt32 {
        self << count | self >> (32 - count)
    }
}

/// SHA-1, which bmap files up to version 1.3 are checked with.
struct SHA1: Digest {
    private(set) var words: [UInt32] = [
        0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0,
    ]

    mutating func compress(_ block: [UInt32]) {
        var schedule = block
        for index in 16..<80 {
            let mixed =
                schedule[index - 3] ^ schedule[index - 8] ^ schedule[index - 14]
                ^ schedule[index - 16]
            schedule.append(mixed.rotated(left: 1))
        }
        var (a, b, c, d, e) = (words[0], words[1], words[2], words[3], words[4])
        for index in 0..<80 {
            let (mixed, constant): (UInt32, UInt32) =
                switch index {
                case ..<20: (b & c | ~b & d, 0x5A82_7999)
                case ..<40: (b ^ c ^ d, 0x6ED9_EBA1)
                case ..<60: (b & c | b & d | c & d, 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            let next = a.rotated(left: 5) &+ mixed &+ e &+ constant &+ schedule[index]
            (e, d, c, b, a) = (d, c, b.rotated(left: 30), a, next)
        }
        for (index, value) in [a, b, c, d, e].enumerated() { words[index] &+= value }
    }
}

/// SHA-256, which bmap files since version 1.4 are checked with.
struct SHA256: Digest {
    private(set) var words: [UInt32] = [
        0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A,
        0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]

    /// The first 32 bits of the fractions of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = [
        0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1,
        0x923F_82A4, 0xAB1C_5ED5, 0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3,
        0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174, 0xE49B_69C1, 0xEFBE_4786,
        0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
        0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147,
        0x06CA_6351, 0x1429_2967, 0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13,
        0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85, 0xA2BF_E8A1, 0xA81A_664B,
        0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
        0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A,
        0x5B9C_CA4F, 0x682E_6FF3, 0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208,
        0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
    ]

    mutating func compress(_ block: [UInt32]) {
        var schedule = block
        for index in 16..<64 {
            let (early, late) = (schedule[index - 15], schedule[index - 2])
            let first = early.rotated(left: 25) ^ early.rotated(left: 14) ^ early >> 3
            let second = late.rotated(left: 15) ^ late.rotated(left: 13) ^ late >> 10
            schedule.append(schedule[index - 16] &+ first &+ schedule[index - 7] &+ second)
        }
        var (a, b, c, d) = (words[0], words[1], words[2], words[3])
        var (e, f, g, h) = (words[4], words[5], words[6], words[7])
        for index in 0..<64 {
            let mixedE = e.rotated(left: 26) ^ e.rotated(left: 21) ^ e.rotated(left: 7)
            let mixedA = a.rotated(left: 30) ^ a.rotated(left: 19) ^ a.rotated(left: 10)
            let choice = e & f ^ ~e & g
            let majority = a & b ^ a & c ^ b & c
            let sum = h &+ mixedE &+ choice &+ Self.constants[index] &+ schedule[index]
            (h, g, f, e) = (g, f, e, d &+ sum)
            (d, c, b, a) = (c, b, a, sum &+ mixedA &+ majority)
        }
        for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { words[index] &+= value }
    }
}
