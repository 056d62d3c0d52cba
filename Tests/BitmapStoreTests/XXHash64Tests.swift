import Testing

@testable import BitmapStore

@Suite struct XXHash64Tests {
    @Test(
        arguments: [
            ("", 0xEF46_DB37_51D8_E999), ("a", 0xD24E_C4F1_A98C_6E5B),
            ("abc", 0x44BC_2CF5_AD77_0999),
            ("Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
        ] as [(String, UInt64)])
    func `the published examples come out`(text: String, hash: UInt64) {
        #expect(xxHash64(Array(text.utf8)) == hash)
    }

    /// The reference implementation checks itself with this sequence.
    @Test(
        arguments: [
            (1, 0, 0xE934_A84A_DB05_2768), (4, 0, 0x9136_A0DC_A574_57EE),
            (14, 0, 0x8282_DCC4_994E_35C8), (222, 0, 0xB641_AE8C_B691_C174),
            (14, 2_654_435_761, 0xC3BD_6BF6_3DEB_6DF0),
            (222, 2_654_435_761, 0x20CB_8AB7_AE10_C14A),
        ] as [(Int, UInt64, UInt64)])
    func `the reference implementation's own checks come out`(
        length: Int, seed: UInt64, hash: UInt64
    ) {
        var state: UInt64 = 2_654_435_761
        let bytes = (0..<length).map { _ in
            defer { state &*= 11_400_714_785_074_694_797 }
            return UInt8(state >> 56)
        }
        #expect(xxHash64(bytes.span, seed: seed) == hash)
    }
}
