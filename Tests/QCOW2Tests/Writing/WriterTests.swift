import BlockStorage
import DirtyBitmap
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

@Suite struct WriterTests {
    private func newImage(
        _ size: Int64 = 1 << 20, _ change: (inout NewImageOptions) -> Void = { _ in }
    ) throws -> MemoryImage {
        var options = NewImageOptions(size: size)
        options.clusterSize = 4096
        change(&options)
        let image = MemoryImage()
        _ = try options.create(in: image)
        return MemoryImage(image.content)
    }

    private func edit(
        _ image: MemoryImage, _ change: (inout Header) -> Void
    ) throws -> MemoryImage {
        var header = try Header.read(from: image)
        change(&header)
        try image.write(try header.encoded(for: "x"), at: 0)
        return MemoryImage(image.content)
    }

    private func refusal(_ image: MemoryImage) -> String {
        do {
            let driver = try TargetDriver(image)
            _ = try driver.target.place(at: 0, limit: 4096)
            return "none"
        } catch {
            #expect(image.writes == 0)
            return "\(error)"
        }
    }

    @Test func `images left dirty, corrupt, or with their data elsewhere are no targets`() throws {
        let dirty = try edit(try newImage()) { $0.incompatible.insert(.dirty) }
        #expect(refusal(dirty).contains("qemu-img check -r all /memory"))
        let corrupt = try edit(try newImage()) { $0.incompatible.insert(.corrupt) }
        #expect(refusal(corrupt).contains("qemu-img check -r all /memory"))
        let apart = try edit(try newImage()) { $0.incompatible.insert(.dataFile) }
        #expect(refusal(apart).contains("file of its own"))
    }

    @Test func `damaged tables are found before anything is written over`() throws {
        // Everything is counted as free: a place for data would be the header.
        let image = try newImage()
        let header = try Header.read(from: image)
        let block = header.refcountTableOffset + 4096
        try image.write([UInt8](repeating: 0, count: 4096), at: block)
        #expect(refusal(MemoryImage(image.content)).contains("counted as free"))
        try image.write([0xff], at: header.refcountTableOffset)
        #expect(refusal(MemoryImage(image.content)).contains("block of refcounts can't be"))
        try image.write([0, 0, 0, 0, 0, 0, 0, 0], at: header.refcountTableOffset)
        #expect(refusal(MemoryImage(image.content)).contains("nothing is counted"))
        let other = try newImage()
        try other.write([0x40], at: header.l1Offset)
        #expect(refusal(MemoryImage(other.content)).contains("an L2 table can't be"))
    }

    @Test func `data that lies over a table is not written`() throws {
        let image = try newImage { $0.preallocatesMetadata = true }
        let header = try Header.read(from: image)
        let l2 = Int64(image.content[Int(header.l1Offset) + 6]) << 8
        for place in [0, header.l1Offset, header.refcountTableOffset] where place > 0 {
            var entry = [UInt8](repeating: 0, count: 8)
            entry.put(UInt64(place) | 1 << 63, at: 0)
            let copy = MemoryImage(image.content)
            try copy.write(entry, at: l2)
            #expect(refusal(MemoryImage(copy.content)).contains("lies over a table"))
        }
    }

    @Test
    func `a commit with nothing new does nothing, and unknown marks are taken off first`() throws {
        let image = try edit(try newImage()) {
            $0.autoclear = AutoclearFeatures(rawValue: 1 << 40 | 0b11)
        }
        let driver = try TargetDriver(image)
        try driver.commit()
        try driver.commit(isFinal: true)
        #expect(image.writes == 0)
        try driver.start(0..<4096, [UInt8](repeating: 1, count: 4096))
        #expect(try Header.read(from: image).autoclear == [])
        try driver.arriveAll()
        try driver.commit()
        let writes = image.writes
        let syncs = image.syncs
        driver.target.seal()
        try driver.target.commit(isFinal: false)
        #expect(image.writes == writes && image.syncs == syncs)
        // Written in place: no table changes.
        try driver.start(0..<512, [UInt8](repeating: 2, count: 512))
        try driver.arriveAll()
        driver.target.seal()
        try driver.target.commit(isFinal: false)
        #expect(image.writes == writes + 1 && image.syncs == syncs)
    }

    @Test func `places are to be had while a commit waits for the disk`() throws {
        let image = try newImage()
        let driver = try TargetDriver(image)
        let ones = [UInt8](repeating: 1, count: 4096)
        try driver.start(0..<4096, ones)
        try driver.arriveAll()
        driver.target.seal()
        var waits = 0
        image.duringSync = {
            waits += 1
            let offset = Int64(waits) * 8192
            try driver.start(offset..<(offset + 4096), ones)
            try driver.arriveAll()
            #expect(try driver.zero((offset + 4096)..<(offset + 8192)) == 4096)
            _ = driver.target.readsAsZero(0..<8192)
        }
        try driver.target.commit(isFinal: false)
        image.duringSync = nil
        // After the refcounts, the tables, and the L1 table.
        #expect(waits >= 3)
        let early = NaiveImage(bytes: image.content)
        #expect(early.problems() == [] && early.sector(at: 0) == [UInt8](repeating: 1, count: 512))
        #expect(early.sector(at: 8192) != early.sector(at: 0), "what was not sealed was committed")
        try driver.commit(isFinal: true)
        let found = NaiveImage(bytes: image.content)
        #expect(found.problems(strict: true) == [])
        for number in 0...waits {
            #expect(found.sector(at: number * 8192) == [UInt8](repeating: 1, count: 512))
        }
    }

    @Test
    func `a file that something else makes shorter is found out, though it grows again`() throws {
        let image = try newImage()
        let driver = try TargetDriver(image, growth: 1 << 20)
        let ones = [UInt8](repeating: 1, count: 65536)
        try driver.start(0..<65536, ones)
        try driver.arriveAll()
        let length = try image.length()
        try image.resize(to: 16384)
        try driver.start(65536..<131072, ones)
        try driver.arriveAll()
        #expect(try image.length() > 65536 && image.length() < length)
        let error = #expect(throws: StorageError.self) { try driver.commit(isFinal: true) }
        #expect(error?.code == .writtenMeanwhile)
    }

    private final class Recorder: ForeignBitmaps {
        let log = Mutex<[String]>([])
        func beforeFirstChange() throws(StorageError) { log.withLock { $0.append("before") } }
        func afterLastChange(changed: borrowing DirtyBitmap) throws(StorageError) {
            let text = "after \(changed.dirtyBytes)"
            log.withLock { $0.append(text) }
        }
    }

    @Test func `whoever keeps bitmaps hears of the first change and of all of them`() throws {
        let image = try edit(try newImage()) { $0.autoclear = .bitmaps }
        let recorder = Recorder()
        let writer = try ImageWriter(image, try Header.read(from: image))
        let target = try QCOW2Target(
            TargetPlaces(name: "x", endpoints: [.file(0), .file(1)], alignment: 512), writer,
            bitmaps: recorder)
        try target.commit(isFinal: true)
        #expect(recorder.log.withLock { $0 } == [])
        _ = try target.place(at: 0, limit: 4096)
        #expect(recorder.log.withLock { $0 } == ["before"])
        #expect(try target.zeroInMap(131072..<(131072 + 8192)) == 8192)
        target.wrote(0..<4096)
        target.seal()
        try target.commit(isFinal: true)
        #expect(recorder.log.withLock { $0 } == ["before", "after 131072"])
        #expect(try Header.read(from: image).autoclear == .bitmaps)
    }

    @Test func `clusters side by side make one place, and the file grows ahead of them`() throws {
        let image = try newImage(64 << 20) { $0.clusterSize = 65536 }
        let before = image.content.count
        let driver = try TargetDriver(image, isNew: true)
        let first = try driver.target.place(at: 0, limit: 8 << 20)
        #expect(first.length == 8 << 20 && first.alignment == 512 && first.file == 0)
        let second = try driver.target.place(at: 8 << 20, limit: 9 << 20)
        #expect(second.hostOffset == first.hostOffset + (8 << 20))
        #expect(image.content.count == 64 << 20)
        driver.target.wrote(8 << 20..<9 << 20)
        try driver.commit(isFinal: true)
        // What was never written is given back, and the file ends where it has to.
        #expect(NaiveImage(bytes: image.content).problems(strict: true) == [])
        #expect(image.content.count > before && image.content.count < 10 << 20)
    }

    @Test func `a disk that ends off a block ends through the page cache`() throws {
        let image = try newImage((1 << 20) - 512)
        let target = try TargetDriver(image, isNew: true, alignment: 4096).target
        let body = try target.place(at: 0, limit: target.size)
        #expect(body.length == (1 << 20) - 4096 && body.file == 0 && body.alignment == 4096)
        let tail = try target.place(at: body.length, limit: target.size)
        #expect(tail.length == 3584 && tail.file == 1 && tail.alignment == 1)
    }

    @Test func `a cluster of which only a part arrives is kept with what was around it`() throws {
        let image = try newImage()
        let driver = try TargetDriver(image, isNew: true)
        let place = try driver.target.place(at: 4096, limit: 8192)
        try image.write([UInt8](repeating: 9, count: 4096), at: place.hostOffset)
        driver.target.wrote(4096..<4608)
        try driver.commit()
        #expect(NaiveImage(bytes: image.content).sector(at: 4096) == nil)
        try driver.commit(isFinal: true)
        let found = NaiveImage(bytes: image.content)
        #expect(found.sector(at: 4096) == [UInt8](repeating: 9, count: 512))
        #expect(found.sector(at: 4608) == [UInt8](repeating: 0, count: 512))
        #expect(found.problems(strict: true) == [])
    }

    @Test func `allocating and freeing clusters for others leaves nothing behind`() throws {
        for bits in [1, 2, 4, 8, 16, 32, 64] {
            let image = try newImage {
                $0.clusterSize = 512
                $0.refcountBits = bits
            }
            let writer = try ImageWriter(image, try Header.read(from: image))
            let small = try writer.allocate(clusters: 1)
            let large = try writer.allocate(clusters: 5000)
            let found = NaiveImage(bytes: image.content)
            for cluster in 0..<5000 {
                #expect(found.refcount(Int(large) / 512 + cluster) == 1)
            }
            #expect(found.problems() == [])
            try writer.free(offset: small, clusters: 1)
            try writer.free(offset: large, clusters: 5000)
            #expect(NaiveImage(bytes: image.content).problems(strict: true) == [])
            let error = #expect(throws: StorageError.self) {
                try writer.free(offset: small, clusters: 1)
            }
            #expect(error?.description.contains("qemu-img check") == true)
        }
    }

    @Test func `a refcount holds what its bits can`() {
        var random = RandomTest.generator(defaultSeed: 5)
        for order in 0...6 {
            var block = RefcountBlock(
                bytes: [UInt8](repeating: 0, count: 512), order: order)
            var twin = [UInt64](repeating: 0, count: block.count)
            #expect(block.count == 4096 >> order)
            for _ in 0..<2000 {
                let index = Int.random(in: 0..<twin.count, using: &random)
                let value = random.next() & RefcountBlock.max(order: order)
                twin[index] = value
                block[index] = value
            }
            #expect(twin.indices.allSatisfy { block[$0] == twin[$0] })
        }
    }
}
