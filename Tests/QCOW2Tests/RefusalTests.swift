import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// What is not opened, and what is said about it.
@Suite struct RefusalTests {
    /// An empty image of 1 MiB, written without QEMU.
    static func image(
        _ path: String, backing: String? = nil, format: String? = "raw", dataFile: String? = nil
    ) throws {
        var image = HandmadeImage()
        image.l1 = [0]
        image.header.backingFile = backing
        if backing != nil, let format { image.header.set(.backingFormat, Array(format.utf8)) }
        if let dataFile {
            image.header.incompatible.insert(.dataFile)
            if !dataFile.isEmpty { image.header.set(.dataFile, Array(dataFile.utf8)) }
        }
        try Data(image.bytes()).write(to: URL(fileURLWithPath: path))
    }

    static func open(_ path: String, _ format: ImageFormat = .qcow2) throws -> ImageChain {
        try ImageChain.open(FilePath(path), options: ChainOptions(format: format))
    }

    func expectProblem(
        _ path: String, _ kind: ImageProblem.Kind, _ words: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: StorageError.self, sourceLocation: sourceLocation) {
            _ = try Self.open(path)
        }
        guard case .image(let problem)? = error else {
            Issue.record("\(error as Any)", sourceLocation: sourceLocation)
            return
        }
        #expect(problem.kind == kind, sourceLocation: sourceLocation)
        for word in words {
            #expect(
                problem.description.contains(word), "\(problem)", sourceLocation: sourceLocation)
        }
    }

    @Test(
        arguments: [
            "json:{\"driver\":\"nbd\"}", "nbd:localhost:10809", "nbd://localhost/x", "ssh://a/b",
            "fat:rw:/tmp", "file:base.img",
        ])
    func `names of other things`(_ name: String) throws {
        let scratch = try Scratch()
        try scratch.file("base.img", size: 4096)
        let path = scratch.path("a.qcow2")
        try Self.image(path, backing: name)
        expectProblem(path, .unsupported, [name, "qemu-img rebase"])
    }

    @Test func `names of files`() throws {
        let scratch = try Scratch()
        try FileManager.default.createDirectory(
            atPath: scratch.path("there"), withIntermediateDirectories: true)
        let base = try scratch.file("there/with:colon.img", size: 1 << 20)
        let path = scratch.path("there/a.qcow2")
        for name in ["./with:colon.img", base, "file:\(base)", "../there/with:colon.img"] {
            try Self.image(path, backing: name)
            #expect(try Self.open(path).layers.count == 2)
        }
        // Relative to the image and not to a link that leads to it.
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path("link.qcow2"), withDestinationPath: "there/a.qcow2")
        try Self.image(path, backing: "./with:colon.img")
        #expect(try Self.open(scratch.path("link.qcow2")).layers.count == 2)
    }

    @Test func `a missing format`() throws {
        let scratch = try Scratch()
        try scratch.file("base.img", size: 1 << 20)
        let path = scratch.path("a.qcow2")
        try Self.image(path, backing: "base.img", format: nil)
        expectProblem(path, .refused, ["qemu-img rebase -u -b 'base.img' -F raw", "-F qcow2"])
        try Self.image(path, backing: "base.img", format: "vmdk")
        expectProblem(path, .unsupported, ["vmdk", "raw and qcow2"])
        try Self.image(path, backing: "base.img", format: "qcow2")
        expectProblem(path, .malformed, ["base.img", "magic"])
        let alone = try ImageChain.open(
            FilePath(path), options: ChainOptions(format: .qcow2, opensBacking: false))
        #expect(try alone.read(at: 0, count: 10) == [UInt8](repeating: 0, count: 10))
    }

    @Test func `a missing file`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Self.image(path, backing: "nowhere.img")
        expectProblem(path, .missing, [path, scratch.path("nowhere.img"), "is not there"])
    }

    @Test func `a chain that runs in a circle`() throws {
        let scratch = try Scratch()
        let first = scratch.path("a.qcow2")
        let second = scratch.path("b.qcow2")
        try Self.image(first, backing: "b.qcow2", format: "qcow2")
        try Self.image(second, backing: "hard.qcow2", format: "qcow2")
        try FileManager.default.linkItem(atPath: first, toPath: scratch.path("hard.qcow2"))
        expectProblem(first, .malformed, ["twice"])
        try FileManager.default.removeItem(atPath: scratch.path("hard.qcow2"))
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path("hard.qcow2"), withDestinationPath: first)
        expectProblem(first, .malformed, ["twice"])
        try Self.image(first, backing: "a.qcow2", format: "raw")
        expectProblem(first, .malformed, ["twice"])
    }

    @Test func `data files`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Self.image(path, dataFile: "")
        expectProblem(path, .malformed, ["does not say in which"])
        try Self.image(path, dataFile: "a.qcow2")
        expectProblem(path, .malformed, ["twice"])
        try Self.image(path, dataFile: "nbd:somewhere")
        expectProblem(path, .unsupported, ["data file", "nbd:somewhere"])
    }

    @Test func `a chain that is too deep`() throws {
        let scratch = try Scratch()
        let count = ChainOpener.depthMax + 1
        for index in 0..<count {
            try Self.image(
                scratch.path("\(index).qcow2"), backing: "\(index + 1).qcow2", format: "qcow2")
        }
        try Self.image(scratch.path("\(count).qcow2"))
        expectProblem(scratch.path("0.qcow2"), .unsupported, ["more than 200", "commit"])
        #expect(try Self.open(scratch.path("5.qcow2")).layers.count == count - 4)
    }

    @Test func `formats by name and magic`() throws {
        let scratch = try Scratch()
        try Self.image(scratch.path("good.qcow2"))
        try Self.image(scratch.path("disk.img"))
        try scratch.file("bad.qcow2", size: 4096)
        try scratch.file("raw.img", size: 4096)
        try scratch.file("short", size: 1)
        // Version 1 is another format, unless the name says that it is this one.
        for name in ["old.img", "old.qcow2"] {
            try Data([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1]).write(
                to: URL(fileURLWithPath: scratch.path(name)))
        }
        func guess(_ name: String) throws -> ImageFormat {
            try ImageFormat.guess(at: FilePath(scratch.path(name)), as: .source)
        }
        #expect(try guess("good.qcow2") == .qcow2)
        #expect(try guess("raw.img") == .raw)
        #expect(try guess("old.img") == .raw)
        #expect(try guess("old.qcow2") == .qcow2)
        #expect(try guess("short") == .raw)
        // Whoever opens them says what they are.
        #expect(try guess("missing.qcow2") == .qcow2)
        #expect(try guess("missing.img") == .raw)
        #expect(try guess(".") == .raw)
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path("loop.qcow2"), withDestinationPath: "loop.qcow2")
        let unread = #expect(throws: StorageError.self) { _ = try guess("loop.qcow2") }
        #expect(unread?.description.contains("leads to itself") == true)
        let ways: [(String, [Way])] = [
            ("disk.img", [.format(.source, is: "qcow2"), .format(.source, is: "raw")]),
            ("bad.qcow2", [.format(.source, is: "raw")]),
        ]
        for (name, ways) in ways {
            let error = #expect(throws: StorageError.self) { _ = try guess(name) }
            #expect(error?.category == .refused)
            #expect(error?.remedy.ways == ways)
        }
        #expect(try Self.open(scratch.path("disk.img"), .raw).layers[0].format == .raw)
    }
}
