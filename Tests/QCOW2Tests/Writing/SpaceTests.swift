import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// Files that can't grow, and places to which no bytes came.
@Suite struct SpaceTests {
    private func newImage(
        _ size: Int64 = 8 << 20, _ change: (inout NewImageOptions) -> Void = { _ in }
    ) throws -> MemoryImage {
        var options = NewImageOptions(size: size)
        options.clusterSize = 512
        change(&options)
        let image = MemoryImage()
        _ = try options.create(in: image)
        return MemoryImage(image.content)
    }

    private func judge(_ image: MemoryImage, _ place: Comment) throws {
        #expect(NaiveImage(bytes: image.content).problems(strict: true) == [], place)
        guard Judge.isInstalled else { return }
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Data(image.content).write(to: URL(fileURLWithPath: path))
        try Judge.check(path)
    }

    @Test(arguments: [16, 64], [false, true])
    func `what was written to a full image is there`(bits: Int, isDisk: Bool) throws {
        for limit in stride(from: 300 << 10, to: 340 << 10, by: 1536 + 512) {
            let image = try newImage { $0.refcountBits = bits }
            image.limit = limit
            if isDisk { try image.resize(to: Int64(limit)) }
            let driver = try TargetDriver(image, isNew: true, growth: 4096)
            var written = 0
            var start: Int64 = 0
            // Each part lies under a table of its own.
            while start < driver.target.size {
                let bytes = [UInt8](repeating: 7, count: 1024)
                guard (try? driver.start(start..<(start + 1024), bytes)) != nil else { break }
                written += 1
                start += 32768
            }
            while start < driver.target.size, (try? driver.zero(start..<(start + 512))) != nil {
                start += 32768
            }
            start = 1024
            while start < driver.target.size {
                let bytes = [UInt8](repeating: 8, count: 512)
                guard (try? driver.start(start..<(start + 512), bytes)) != nil else { break }
                start += 32768
            }
            #expect(start < driver.target.size && written > 100)
            try driver.commit(isFinal: true)
            try judge(image, "\(limit)")
            let found = NaiveImage(bytes: image.content)
            for offset in stride(from: 0, to: driver.model.count, by: 512) {
                let expected = driver.model[offset]
                #expect((found.sector(at: offset)?[0] ?? 0) == expected, "\(limit) \(offset)")
            }
        }
    }

    @Test func `a table for which nothing came is given back`() throws {
        let image = try newImage()
        let before = image.content.count
        let driver = try TargetDriver(image, isNew: true)
        _ = try driver.target.place(at: 0, limit: 512)
        try driver.commit(isFinal: true)
        try judge(image, "nothing")
        #expect(image.content.count == before)
    }

    @Test func `a lost cluster gets another place, and nothing else is lost with it`() throws {
        let image = try newImage { $0.clusterSize = 4096 }
        let driver = try TargetDriver(image, isNew: true)
        try driver.start(0..<4096, [UInt8](repeating: 1, count: 4096))
        try driver.arriveAll()
        let target = driver.target
        let first = try target.place(at: 4096, limit: 20480)
        target.wrote(4096..<6144)
        target.wrote(12288..<20480)
        // In place before; half of it there; not there; all there.
        #expect(target.lost(0..<512) == 0..<512)
        #expect(target.lost(6144..<7168) == 4096..<8192)
        #expect(target.lost(9216..<14336) == 8192..<14336)
        #expect(target.lost(5120..<5632) == 5120..<5632)
        // The bytes come all the same, and mean nothing any more.
        target.wrote(4096..<12288)
        try driver.commit()
        #expect(NaiveImage(bytes: image.content).sector(at: 4096) == nil)
        #expect(NaiveImage(bytes: image.content).sector(at: 12288) != nil)
        let second = try target.place(at: 4096, limit: 12288)
        let old = first.hostOffset..<(first.hostOffset + first.length)
        #expect(!old.contains(second.hostOffset) && second.length == 8192)
        try image.write([UInt8](repeating: 5, count: 8192), at: second.hostOffset)
        target.wrote(4096..<12288)
        try driver.commit(isFinal: true)
        let found = NaiveImage(bytes: image.content)
        // The two lost places are given back when nothing is on its way to them any more.
        #expect(found.problems(strict: true) == [])
        #expect(found.sector(at: 4096)?.first == 5 && found.sector(at: 11776)?.first == 5)
        #expect(found.sector(at: 0)?.first == 1)
    }

    @Test func `a lost cluster that was zero in its place gets another one`() throws {
        let image = try newImage { $0.clusterSize = 4096 }
        let driver = try TargetDriver(image, isNew: true)
        try driver.start(0..<4096, [UInt8](repeating: 1, count: 4096))
        try driver.arriveAll()
        try driver.zero(0..<4096)
        try driver.commit()
        let first = try driver.target.place(at: 0, limit: 4096)
        #expect(driver.target.lost(512..<1024) == 0..<4096)
        #expect(driver.target.readsAsZero(0..<4096))
        #expect(try driver.target.place(at: 0, limit: 4096).hostOffset != first.hostOffset)
        try driver.commit()
        // Bytes may still be on their way to the first place: it is nobody else's.
        #expect(NaiveImage(bytes: image.content).problems(strict: true).count > 0)
        #expect(try driver.target.place(at: 4096, limit: 8192).hostOffset != first.hostOffset)
        try driver.commit(isFinal: true)
        #expect(NaiveImage(bytes: image.content).problems(strict: true) == [])
        #expect(NaiveImage(bytes: image.content).sector(at: 0)?.first == 0)
    }

    @Test func `growing takes off marks of others, also where no table moves`() throws {
        let image = try newImage(100 << 10) { $0.clusterSize = 4096 }
        var header = try Header.read(from: image)
        header.autoclear = AutoclearFeatures(rawValue: 1 << 40)
        try image.write(try header.encoded(for: "x"), at: 0)
        let writer = try ImageWriter(image, header)
        try writer.resize(to: 104 << 10)
        #expect(try Header.read(from: image).autoclear == [])
        #expect(try Header.read(from: image).size == 104 << 10)
    }

    @Test func `an image whose data is elsewhere is not emptied`() throws {
        let image = try newImage()
        var header = try Header.read(from: image)
        header.incompatible.insert(.dataFile)
        let writer = try ImageWriter(image, header)
        let error = #expect(throws: StorageError.self) { try writer.makeEmpty() }
        #expect(error?.remedy.ways == [.keepOverlay])
        #expect(image.events.isEmpty)
    }

    @Test func `a disk is not made shorter`() throws {
        let image = try newImage()
        try image.resize(to: 1 << 20)
        image.isDisk = true
        try ImageWriter(image, try Header.read(from: image)).makeEmpty()
        #expect(image.content.count == 1 << 20)
        image.isDisk = false
        try ImageWriter(image, try Header.read(from: image)).makeEmpty()
        #expect(image.content.count < 1 << 20)
    }
}
