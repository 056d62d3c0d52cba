/// What may be around a change map: a byte order mark, a signature, a compressed file.
///
/// What can be taken off without a doubt is taken off. All else is named, so that the message says
/// how to get at the map and not that it is unknown.
enum Wrapper {
    /// The map in a file.
    ///
    /// - Returns: its bytes, and what the user should know about what was around them.
    /// - Throws: `unsupported` for a wrapper that is not taken off.
    static func open(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> (map: [UInt8], warnings: [String]) {
        if let packed = compressions.first(where: { bytes.starts(with: $0.magic) }) {
            throw source.error(
                .unsupported, "the file is compressed with \(packed.name)",
                remedy: "Decompress it first: `\(packed.command)`.")
        }
        if bytes.starts(with: [0xFF, 0xFE, 0, 0]) || bytes.starts(with: [0, 0, 0xFE, 0xFF]) {
            throw source.error(
                .unsupported, "the file is text in UTF-32",
                remedy: "Convert it first: `iconv -f UTF-32 -t UTF-8`.")
        }
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw source.error(
                .unsupported, "the file is text in UTF-16",
                remedy: "Convert it first: `iconv -f UTF-16 -t UTF-8`.")
        }
        let text = bytes.starts(with: byteOrderMark) ? Array(bytes.dropFirst(3)) : bytes
        guard text.starts(with: signedHeader.utf8) else { return (text, []) }
        return (
            try signedText(text, source),
            [
                "\(source.name) is signed, and the signature was not checked: "
                    + "`gpg --verify` checks it."
            ]
        )
    }

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    private static let compressions: [(magic: [UInt8], name: String, command: String)] = [
        ([0x1F, 0x8B], "gzip", "gunzip -k FILE"),
        (Array("BZh".utf8), "bzip2", "bunzip2 -k FILE"),
        ([0xFD] + Array("7zXZ".utf8) + [0], "xz", "unxz -k FILE"),
        ([0x28, 0xB5, 0x2F, 0xFD], "zstd", "unzstd FILE"),
        ([0x04, 0x22, 0x4D, 0x18], "lz4", "unlz4 FILE"),
        (Array("LZIP".utf8), "lzip", "lzip -dk FILE"),
        (Array("PK".utf8) + [3, 4], "zip", "unzip FILE"),
    ]

    // OpenPGP's cleartext signature framework: RFC 9580, section 7.

    private static let signedHeader = "-----BEGIN PGP SIGNED MESSAGE-----"
    private static let signature = Array("-----BEGIN PGP SIGNATURE-----".utf8)

    /// The text between the headers and the signature of a clear-signed file: lines that begin with
    /// a dash have `- ` put before them.
    private static func signedText(
        _ bytes: [UInt8], _ source: ChangeMapInput
    ) throws(ChangeMapError) -> [UInt8] {
        var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)[...]
        let isEmpty = { (line: ArraySlice<UInt8>) in line.allSatisfy { isBlank($0) } }
        guard let blank = lines.firstIndex(where: isEmpty) else {
            throw source.malformed(nil, "the signed text has no beginning")
        }
        lines = lines[(blank + 1)...]
        guard let end = lines.firstIndex(where: { $0.starts(with: signature) }) else {
            throw source.malformed(nil, "the signed text has no end")
        }
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count)
        for line in lines[..<end] {
            text += line.starts(with: "- ".utf8) ? line.dropFirst(2) : line
            text.append(0x0A)
        }
        return text
    }
}
