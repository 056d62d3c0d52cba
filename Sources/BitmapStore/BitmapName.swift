/// Which names a bitmap may have.
enum BitmapName {
    private static let byteCountMax = 1023

    /// What is wrong with it; nil: nothing. Control characters would play tricks with terminals.
    static func flaw(in name: String) -> String? {
        if name.isEmpty { return "it is empty" }
        if name.utf8.count > byteCountMax {
            return "it has \(name.utf8.count) bytes, and \(byteCountMax) are the most"
        }
        if name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            return "it has control characters"
        }
        return nil
    }
}
