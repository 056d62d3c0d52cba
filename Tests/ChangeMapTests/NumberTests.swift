import Testing

@testable import ChangeMap

@Suite struct NumberTests {
    @Test(arguments: [
        ("0", 0), ("10", 10), ("9223372036854775807", Int64.max), ("9223372036854775808", nil),
        ("", nil), ("-1", nil), ("+1", nil), (" 1", nil), ("0x10", nil), ("1K", nil), ("010", 10),
    ])
    func `decimal numbers`(text: String, value: Int64?) {
        #expect(NumberSyntax.decimal.parse(text.utf8) == value)
    }

    @Test(arguments: [
        ("0", 0), ("010", 8), ("08", nil), ("0x1f", 31), ("0X1F", 31), ("0x", nil), ("10", 10),
        ("0x7FFFFFFFFFFFFFFF", Int64.max), ("0x8000000000000000", nil), ("0x-1", nil), ("1K", nil),
    ])
    func `numbers as C writes them`(text: String, value: Int64?) {
        #expect(NumberSyntax.c.parse(text.utf8) == value)
    }

    @Test(arguments: [
        ("010", 10), ("0x10", 16), ("0xE", 14), ("1k", 1024), ("3M", 3 << 20), ("1G", 1 << 30),
        ("1T", 1 << 40), ("1P", 1 << 50), ("7E", 7 << 60), ("8E", nil), ("K", nil), ("1KB", nil),
        ("1.5K", nil), ("0x1K", nil), ("9223372036854775807", Int64.max), ("0K", 0),
    ])
    func `numbers with units`(text: String, value: Int64?) {
        #expect(NumberSyntax.human.parse(text.utf8) == value)
    }
}
