import BlockStorage
import SystemPackage
import Testing

@testable import QCOW2

@Suite struct HeaderTests {
    static func header() -> Header {
        var header = Header()
        header.size = 1 << 30
        header.l1EntryCount = 2
        header.l1Offset = 0x30000
        header.refcountTableOffset = 0x10000
        header.refcountTableClusters = 1
        header.backingFile = "base.img"
        header.set(.backingFormat, Array("raw".utf8))
        return header
    }

    @Test func `what is written is read`() throws {
        var header = Self.header()
        header.set(.dataFile, Array("somewhere/ä.data".utf8))
        header.set(.bitmaps, [UInt8](repeating: 7, count: 24))
        header.set(.unknown(0xabcd), [1, 2, 3])
        header.unknownFields = [UInt8](repeating: 9, count: 16)
        header.incompatible = [.compressionType, .dirty]
        header.compression = .zstd
        let bytes = try header.encoded(for: "x")
        #expect(bytes.count == 65536)
        #expect(try HeaderReader(bytes: bytes, path: "x").read() == header)
    }

    @Test func `a header of version 2`() throws {
        var header = Self.header()
        header.version = 2
        let bytes = try header.encoded(for: "x")
        #expect(try HeaderReader(bytes: bytes, path: "x").read() == header)
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        let offset: Int
        let value: UInt64
        let length: Int
        let message: String

        init(_ offset: Int, _ value: UInt64, _ length: Int, _ message: String) {
            self.offset = offset
            self.value = value
            self.length = length
            self.message = message
        }

        var testDescription: String { "\(value) at \(offset)" }
    }

    static let damages = [
        Damage(0, 0x5146_49fc, 4, "magic"), Damage(4, 1, 4, "version 1"),
        Damage(4, 4, 4, "version 4"), Damage(8, 65530, 8, "outside the first cluster"),
        Damage(8, 50, 8, "outside the first cluster"), Damage(8, .max, 8, "outside the first"),
        Damage(16, 1024, 4, "can't have 1024 bytes"), Damage(16, 0, 4, "can't have 0 bytes"),
        Damage(20, 8, 4, "2^8"), Damage(20, 22, 4, "2^22"), Damage(20, .max, 4, "not possible"),
        Damage(24, 1 << 40, 8, "the size needs"), Damage(24, .max, 8, "the size of the disk"),
        Damage(24, 1 << 62, 8, "the size needs"),
        Damage(32, 1, 4, "encrypted"), Damage(36, 1, 4, "the size needs 2"),
        Damage(36, 4_194_305, 4, "too large"), Damage(40, 0x30001, 8, "the L1 table can't be"),
        Damage(40, 1 << 56, 8, "the L1 table can't be"), Damage(40, 1 << 63, 8, "can't be"),
        Damage(48, 512, 8, "the refcount table can't be"), Damage(56, 0, 4, "no refcount table"),
        Damage(56, 129, 4, "too large"), Damage(60, 65537, 4, "too many"),
        Damage(72, 1 << 5, 8, "bit 5"), Damage(72, 1 << 3, 8, "disagree"),
        Damage(96, 7, 4, "2^7"), Damage(100, 96, 4, "a header of 96"),
        Damage(100, 108, 4, "a header of 108"), Damage(100, .max, 4, "a header of"),
        Damage(104, 2, 1, "compression type 2"), Damage(104, 1, 1, "disagree"),
        Damage(116, 70000, 4, "beyond the header's cluster"),
        Damage(116, .max, 4, "beyond the header's cluster"),
        Damage(120, 0xff, 1, "not text"), Damage(120, 0, 1, "not text"),
    ]

    @Test(arguments: damages)
    func `damaged fields`(_ damage: Damage) throws {
        var bytes = try Self.header().encoded(for: "x")
        for index in 0..<damage.length {
            let shift = UInt64(8 * (damage.length - 1 - index))
            bytes[damage.offset + index] = UInt8(truncatingIfNeeded: damage.value >> shift)
        }
        let error = #expect(throws: StorageError.self) {
            _ = try HeaderReader(bytes: bytes, path: "x").read()
        }
        #expect(error?.description.contains(damage.message) == true, "\(error as Any)")
    }

    /// QEMU opens none of these, so that neither may a copy be made in them.
    @Test func `extensions that QEMU refuses`() throws {
        func reads(_ change: (inout Header) -> Void) throws -> String? {
            var header = Self.header()
            header.extensions = []
            change(&header)
            let bytes = try header.encoded(for: "x")
            do { _ = try HeaderReader(bytes: bytes, path: "x").read() } catch {
                return "\(error)"
            }
            return nil
        }
        func with(_ kind: HeaderExtension.Kind, _ count: Int) -> (inout Header) -> Void {
            let data = [UInt8](repeating: 97, count: count)
            return { $0.extensions = [HeaderExtension(kind: kind, data: data)] }
        }
        #expect(try reads(with(.backingFormat, 15)) == nil)
        #expect(try reads(with(.backingFormat, 16))?.contains("can't have 16 bytes") == true)
        #expect(try reads(with(.bitmaps, 24)) == nil)
        #expect(try reads(with(.encryption, 16))?.contains("not encrypted") == true)
    }

    /// The end of the extensions is one with a length, too.
    @Test func `the end of extensions has a length`() throws {
        var header = Self.header()
        header.extensions = []
        var bytes = try header.encoded(for: "x")
        #expect(bytes[112..<120].allSatisfy { $0 == 0 })
        bytes[117] = 2
        let error = #expect(throws: StorageError.self) {
            _ = try HeaderReader(bytes: bytes, path: "x").read()
        }
        #expect(error?.description.contains("beyond the header's cluster") == true)
    }

    @Test func `an extension that comes twice`() throws {
        var header = Self.header()
        header.extensions.append(
            HeaderExtension(kind: .backingFormat, data: Array("qcow2".utf8)))
        let bytes = try header.encoded(for: "x")
        let error = #expect(throws: StorageError.self) {
            _ = try HeaderReader(bytes: bytes, path: "x").read()
        }
        #expect(error?.description.contains("there twice") == true)
    }

    /// Wherever the file ends, that is an error and not a crash.
    @Test func `a header that is cut off anywhere`() throws {
        let bytes = try Self.header().encoded(for: "x")
        for length in 0..<160 {
            _ = try? HeaderReader(bytes: Array(bytes[..<length]), path: "x").read()
        }
        for length in 0..<72 {
            #expect(throws: StorageError.self) {
                _ = try HeaderReader(bytes: Array(bytes[..<length]), path: "x").read()
            }
        }
    }
}
