import BlockStorage
import SystemPackage
import Testing

@testable import QCOW2

@Suite struct HeaderTests {
    @Test func whatIsWrittenIsRead() throws {
        var header = Header()
        header.size = 1 << 30
        header.l1EntryCount = 2
        header.l1Offset = 0x30000
        header.refcountTableOffset = 0x10000
        header.refcountTableClusters = 1
        header.backingFile = "base.img"
        header.set(.backingFormat, Array("raw".utf8))
        let bytes = try header.encoded(for: "x")
        #expect(bytes.count == 65536)
        #expect(try HeaderReader(bytes: bytes, path: "x").read() == header)
    }
}
