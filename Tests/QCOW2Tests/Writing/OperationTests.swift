import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

@Suite(.enabled(if: Judge.isInstalled, "needs qemu-img and qemu-io"))
struct OperationTests {
    private func writer(_ path: String) throws -> ImageWriter {
        let file = try PlainFile(path)
        return try ImageWriter(file, try Header.read(from: file))
    }

    @Test(arguments: [512, 4096, 65536], [false, true])
    func `a disk grows`(_ cluster: Int, _ hasSnapshot: Bool) throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 1 << 20, ["cluster_size=\(cluster)"])
        try Qemu.io(path, ["write -P 5 0 512K"])
        if hasSnapshot { try Shell.run("qemu-img", "snapshot", "-c", "s", path) }
        let open = try writer(path)
        try open.resize(to: (1 << 20) + 512)
        try open.resize(to: 1 << 30)
        #expect(open.header.size == 1 << 30)
        try Judge.check(path)
        try Qemu.io(path, ["read -P 5 0 512K", "read -P 0 512K 10M", "write -P 6 1000M 1M"])
        try Judge.check(path)
        #expect(throws: StorageError.self) { try open.resize(to: 1 << 20) }
        #expect(throws: StorageError.self) { try open.resize(to: .max) }
    }

    @Test func `another backing file`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        let base = try scratch.file("base.raw", size: 1 << 20)
        try Qemu.create(path, size: 1 << 20, [])
        let open = try writer(path)
        try open.setBacking(file: "base.raw", format: "raw")
        let info = try Shell.run("qemu-img", "info", path)
        #expect(info.contains("backing file: base.raw (actual path: \(base))"))
        #expect(info.contains("backing file format: raw"))
        try open.setBacking(file: nil, format: nil)
        #expect(try !Shell.run("qemu-img", "info", path).contains("backing"))
        try Judge.check(path)
    }

    @Test(arguments: [false, true])
    func `an emptied image reads as what is below, and snapshots stay`(_ hasSnapshot: Bool) throws {
        for options in [["cluster_size=512"], ["extended_l2=on"], ["compat=0.10"], []] {
            let scratch = try Scratch()
            let path = scratch.path("a.qcow2")
            let base = try scratch.file("base.raw", size: 1 << 20)
            try Qemu.create(path, size: 1 << 20, options, backing: (base, "raw"))
            if !options.contains("extended_l2=on") {
                try Qemu.io(path, ["write -c -P 7 0 64K", "write -c -P 8 512K 64K"])
            }
            try Qemu.io(path, ["write -P 5 128K 256K", "write -z 896K 64K"])
            let before = try Judge.content(path)
            if hasSnapshot { try Shell.run("qemu-img", "snapshot", "-c", "s", path) }
            try writer(path).makeEmpty()
            try Judge.check(path)
            #expect(try Judge.content(path) == [UInt8](repeating: 0, count: 1 << 20))
            if hasSnapshot { #expect(try Judge.content(path, snapshot: "s") == before) }
            try Qemu.io(path, ["write -P 5 128K 256K"])
            try Judge.check(path)
        }
    }

    @Test func `operations outlive the machine at any moment`() throws {
        var random = RandomTest.generator(defaultSeed: 1)
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 512 << 10, ["cluster_size=512"])
        try Qemu.io(path, ["write -P 5 0 100K", "write -c -P 7 128K 512"])
        try Shell.run("qemu-img", "snapshot", "-c", "s", path)
        try Qemu.io(path, ["write -P 6 50K 100K"])
        let start = try Judge.bytes(path)
        let operations: [(ImageWriter) throws -> Void] = [
            { try $0.makeEmpty() }, { try $0.resize(to: 1 << 30) },
            { try $0.setBacking(file: "b", format: "raw") },
            { try $0.free(offset: $0.allocate(clusters: 900), clusters: 900) },
        ]
        for operation in operations {
            let image = MemoryImage(start)
            try operation(try ImageWriter(image, try Header.read(from: image)))
            #expect(NaiveImage(bytes: image.content).problems(strict: true) == [])
            var cut = VolatileFile(start)
            for event in image.events {
                cut.perform(event)
                for percent in [100, 20, 50, 90] {
                    let state = NaiveImage(
                        bytes: cut.afterPowerCut(percent: percent, using: &random))
                    #expect(state.problems() == [], "\(random.replay)")
                }
            }
        }
    }

    @Test func `an image on a real device with a chain below is written in part`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        let base = scratch.path("base.qcow2")
        try Qemu.create(base, size: 1 << 20, [])
        try Qemu.io(base, ["write -P 3 0 1M"])
        try Qemu.create(path, size: 2 << 20, [], backing: (base, "qcow2"))
        try Qemu.io(path, ["write -c -P 7 64K 64K", "write -P 8 128K 64K"])
        let source = try scratch.file("source.raw", size: 64 << 10)
        do {
            let device = try StorageDevice.openTarget(
                FilePath(path), for: StorageDevice.openSource(FilePath(source)),
                options: {
                    var options = TargetOptions()
                    options.overwrite = true
                    options.allowLarger = true
                    return options
                }())
            let chain = try ImageChain(top: device, options: ChainOptions(format: .qcow2))
            let file = DeviceFile(device)
            let target = try QCOW2Target(
                device, ImageWriter(file, Header.read(from: file)),
                content: ChainContent(chain))
            for offset in [4096, 65536 + 4096, 131072 + 4096, 1 << 20] as [Int64] {
                let place = try target.place(at: offset, limit: offset + 4096)
                #expect(place.length == 4096)
                try file.write([UInt8](repeating: 1, count: 4096), at: place.hostOffset)
                target.wrote(offset..<(offset + 4096))
            }
            target.seal()
            try file.sync()
            try target.commit(isFinal: true)
        }
        try Judge.check(path)
        var expected = [UInt8](repeating: 3, count: 1 << 20) + [UInt8](repeating: 0, count: 1 << 20)
        expected.replaceSubrange(65536..<131072, with: [UInt8](repeating: 7, count: 65536))
        expected.replaceSubrange(131072..<196608, with: [UInt8](repeating: 8, count: 65536))
        for offset in [4096, 65536 + 4096, 131072 + 4096, 1 << 20] as [Int] {
            expected.replaceSubrange(
                offset..<(offset + 4096), with: [UInt8](repeating: 1, count: 4096))
        }
        #expect(try Judge.content(path) == expected)
    }
}
