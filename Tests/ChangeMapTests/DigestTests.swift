import Testing

@testable import ChangeMap

@Suite struct DigestTests {
    /// From the standards, and for lengths around a block from other programs.
    @Test func `known answers`() {
        #expect(SHA1.text("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(SHA1.text("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(
            SHA256.text("abc")
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            SHA256.text("")
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        let long = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
        #expect(SHA1.text(long) == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
        #expect(
            SHA256.text(long)
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    }

    @Test(arguments: [
        (
            55, "c1c8bbdc22796e28c0e15163d20899b65621d65a",
            "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"
        ),
        (
            56, "c2db330f6083854c99d4b5bfb6e8f29f201be699",
            "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"
        ),
        (
            63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5",
            "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"
        ),
        (
            64, "0098ba824b5c16427bd7a1122a5a442a25ec644d",
            "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"
        ),
        (
            65, "11655326c708d70319be2610e8a57d9a5b959d3b",
            "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"
        ),
        (
            119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56",
            "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"
        ),
        (
            1000, "291e9a6c66994949b57ba5e650361e98fc36b1ba",
            "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"
        ),
    ])
    func `all lengths around a block`(count: Int, sha1: String, sha256: String) {
        let text = String(repeating: "a", count: count)
        #expect(SHA1.text(text) == sha1)
        #expect(SHA256.text(text) == sha256)
    }

    @Test func `parts are hashed as one`() {
        let bytes = Array("abc".utf8)
        #expect(SHA1.hexadecimal(of: [bytes[..<1], [], bytes[1...]]) == SHA1.text("abc"))
    }
}

extension Digest {
    fileprivate static func text(_ text: String) -> String {
        hexadecimal(of: [Array(text.utf8)[...]])
    }
}
