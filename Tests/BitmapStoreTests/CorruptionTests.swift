import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

/// Foreign and damaged bytes: an error, or a state that was committed.
@Suite struct CorruptionTests {
    /// A store with something of everything, and the states on the way to it.
    private func example(
        _ random: inout SeededGenerator
    ) throws -> (content: [UInt8], states: [Snapshot]) {
        let twin = try Twin(size: 40_100, shifts: [9, 10])
        var states = [Snapshot()]
        for _ in 0..<60 {
            _ = twin.apply(twin.anything(&random))
            states.append(twin.model.state)
        }
        return (twin.disk.content, states)
    }

    @Test(arguments: 1...4)
    func `whatever happens to the bytes, it is noticed or does no harm`(seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        let (content, states) = try example(&random)
        for step in 0..<RandomTest.events(default: 400) {
            var bytes = content
            let what = damage(&bytes, &random)
            let disk = MemoryDisk(content: bytes)
            do throws(BitmapStoreError) {
                let found = try Snapshot.read(disk)
                #expect(
                    states.contains(found), "step \(step): \(what); \(random.replay): \(found)")
            } catch {
                #expect(!error.description.isEmpty)
                #expect(disk.content == bytes, "a refused file was written to")
            }
        }
    }

    private func damage(_ bytes: inout [UInt8], _ random: inout SeededGenerator) -> String {
        // Most of the file is zeros; the superblocks deserve more than their share.
        let limit = random.chance(percent: 30) ? 2 * blockBytes : bytes.count
        let place = Int.random(in: 0..<limit, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0:
            bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            return "bit of \(place)"
        case 1:
            let count = min(Int.random(in: 1...600, using: &random), bytes.count - place)
            for index in place..<place + count {
                bytes[index] = UInt8.random(in: 0 ... .max, using: &random)
            }
            return "\(count) bytes from \(place)"
        case 2:
            bytes.removeLast(bytes.count - place)
            return "cut at \(place)"
        case 3:
            let from = Int.random(in: 0..<bytes.count, using: &random)
            let count = min(4096, bytes.count - max(from, place))
            bytes.replaceSubrange(place..<place + count, with: bytes[from..<from + count])
            return "\(count) bytes from \(from) to \(place)"
        default:
            let block = place / 512 * 512
            for index in block..<min(block + 512, bytes.count) { bytes[index] = 0 }
            return "sector \(block) zeroed"
        }
    }

    /// Damage that a checksum can't find, because whoever made it computed it anew.
    @Test(arguments: 1...4)
    func `impossible directories are refused, with right checksums too`(seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        let (content, _) = try example(&random)
        let known = try Generation.load(MemoryFile(MemoryDisk(content: content)), known: nil)
        let start = Int(known.superblock.directory.offset)
        let length = Int(known.superblock.directoryLength)
        for _ in 0..<RandomTest.events(default: 400) {
            var bytes = content
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let index = start + Int.random(in: 0..<length, using: &random)
                bytes[index] =
                    random.chance(percent: 50)
                    ? 0xff : UInt8.random(in: 0 ... .max, using: &random)
            }
            var superblock = known.superblock
            superblock.directory = Reference(
                offset: superblock.directory.offset,
                checksum: xxHash64(Array(bytes[start..<start + length])))
            for slot in 0..<2 {
                bytes.replaceSubrange(
                    slot * blockBytes..<slot * blockBytes + 512, with: superblock.encoded())
            }
            // It may well be possible; it must not crash, hang or read beyond the file.
            _ = try? Snapshot.read(MemoryDisk(content: bytes))
        }
    }

    @Test func `absurd superblocks with right checksums are refused`() throws {
        let (disk, _) = try makeStore(disk("source", size: 40_100))
        let good = try Generation.load(MemoryFile(disk), known: nil).superblock
        func refuses(_ change: (inout Superblock) -> Void) -> Bool {
            var superblock = good
            change(&superblock)
            var bytes = disk.content
            for slot in 0..<2 {
                bytes.replaceSubrange(
                    slot * blockBytes..<slot * blockBytes + 512, with: superblock.encoded())
            }
            return (try? Snapshot.read(MemoryDisk(content: bytes))) == nil
        }
        #expect(!refuses { _ in })
        #expect(refuses { $0.deviceSize = -1 })
        #expect(refuses { $0.deviceSize += 1 })
        #expect(refuses { $0.generation = 0 })
        #expect(refuses { $0.generation = .max })
        #expect(refuses { $0.blockCount = .max })
        #expect(refuses { $0.blockCount = 1 << 25 })
        #expect(refuses { $0.blockCount = 2 })
        #expect(refuses { $0.directoryLength = .max })
        #expect(refuses { $0.directoryLength = 0 })
        #expect(refuses { $0.directoryLength = 1 << 26 })
        #expect(refuses { $0.directory = Reference(offset: 0, checksum: 0) })
        #expect(refuses { $0.directory = Reference(offset: 8193, checksum: 0) })
        #expect(refuses { $0.directory = Reference(offset: .max - 4095, checksum: 0) })
    }

    @Test func `other versions, byte orders and files are refused by what they are`() throws {
        let (disk, _) = try makeStore(disk("source", size: 40_100))
        func refusal(_ change: (inout [UInt8]) -> Void) -> String? {
            var bytes = disk.content
            for slot in 0..<2 {
                var block = Array(bytes[slot * blockBytes..<slot * blockBytes + 504])
                change(&block)
                block.append(littleEndian: xxHash64(block))
                bytes.replaceSubrange(slot * blockBytes..<slot * blockBytes + 512, with: block)
            }
            do throws(BitmapStoreError) {
                _ = try Snapshot.read(MemoryDisk(content: bytes))
                return nil
            } catch { return error.caseName }
        }
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0[0] = 0 } == "notAStore")
        for version in [0, 3, 255] {
            #expect(refusal { $0[12] = UInt8(version) } == "unsupportedVersion")
        }
        #expect(refusal { $0[17] = 0x20 } == "unsupportedVersion")
        #expect(refusal { $0.replaceSubrange(8..<12, with: [1, 2, 3, 4]) } == "unsupportedVersion")
    }

    @Test func `entries and fields of later versions are skipped, or refused if needed`() throws {
        let catalog = Catalog(device: disk("source", size: 4096))
        var writer = FieldWriter()
        writer.put(99, Array("later".utf8))
        #expect(try Catalog(decoding: catalog.encoded() + writer.bytes) == catalog)
        var required = FieldWriter()
        required.put(99, Array("later".utf8), flags: FieldWriter.isRequired)
        #expect(throws: FieldError.unsupported("it has entries of kind 99")) {
            try Catalog(decoding: catalog.encoded() + required.bytes)
        }
        var flagged = FieldWriter()
        flagged.put(99, [], flags: 2)
        #expect(throws: FieldError.self) {
            try Catalog(decoding: catalog.encoded() + flagged.bytes)
        }
    }
}
