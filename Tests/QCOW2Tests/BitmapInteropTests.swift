import BlockStorage
import DirtyBitmap
import Foundation
import TestSupport
import Testing

@testable import QCOW2

/// What QEMU writes we read, and what we write it reads.
@Suite(.enabled(if: BitmapQEMU.isThere, "the tools of QEMU and libnbd are not installed"))
struct BitmapInteropTests {
    struct Shape: Sendable {
        let options: String
        let size: Int64
        var shift = 16
    }

    private static let shapes = [
        Shape(options: "cluster_size=512", size: 1 << 20, shift: 9),
        Shape(options: "cluster_size=65536", size: 1 << 23, shift: 9),
        Shape(options: "cluster_size=4096", size: 3 << 20, shift: 12),
        Shape(options: "cluster_size=65536", size: 67_109_376, shift: 16),
        Shape(options: "cluster_size=2097152", size: 1 << 28, shift: 20),
        Shape(options: "cluster_size=65536", size: 5 << 30, shift: 31),
        Shape(options: "cluster_size=65536,extended_l2=on", size: 1 << 22, shift: 10),
        Shape(options: "cluster_size=1024,lazy_refcounts=on", size: 1 << 22, shift: 9),
    ]

    private static let changedShapes = [
        Shape(options: "cluster_size=512", size: 1 << 20),
        Shape(options: "cluster_size=65536", size: 100 << 20),
        Shape(options: "cluster_size=4096", size: 5_243_904),
    ]

    @Test(arguments: shapes)
    func `what QEMU records we read, at each granularity`(shape: Shape) throws {
        let (size, shift) = (shape.size, shape.shift)
        var random = RandomTest.generator(defaultSeed: 72)
        let qemu = try BitmapQEMU(size: size, options: shape.options)
        try qemu.bitmap("--add", "-g", "\(1 << shift)", "a")
        try qemu.bitmap("--add", "-g", "\(1 << shift)", "--disable", "frozen")
        var model = try BitmapRig.bits(size, shift, [])
        for round in 0..<3 {
            var commands: [String] = []
            for _ in 0..<4 {
                let start = Int64.random(in: 0..<size, using: &random)
                let end = min(size, start + Int64.random(in: 1...40_000, using: &random))
                commands.append("write \(start) \(end - start)")
                model.set(start..<end)
            }
            try Shell.run(
                "qemu-io", ["-f", "qcow2"] + commands.flatMap { ["-c", $0] } + [qemu.path])
            let states = try BitmapRig.states(qemu.memory())
            let wanted = BitmapRig.runs(model)
            #expect(states["a"]?.runs == wanted, "round \(round), \(random.replay)")
            #expect(states["frozen"]?.runs == [])
            #expect(states["a"]?.shift == shift && states["a"]?.isRecording == true)
            #expect(states["frozen"]?.isRecording == false)
        }
        #expect(try qemu.agreedStates().differences == [])
    }

    @Test(arguments: changedShapes)
    func `what we change QEMU reads, and its check finds nothing`(shape: Shape) throws {
        let size = shape.size
        var random = RandomTest.generator(defaultSeed: 78)
        let qemu = try BitmapQEMU(size: size, options: shape.options)
        try qemu.io("write 0 300k")
        func somewhere() -> Range<Int64> {
            let start = Int64.random(in: 0..<size, using: &random)
            return start..<Int64.random(in: start...size, using: &random)
        }
        let ranges = (0..<8).map { _ in somewhere() }
        try qemu.change { bitmaps in
            try bitmaps.add("fine", granularity: .min)
            try bitmaps.add("coarse", granularity: Granularity(bytes: 1 << 18), disabled: true)
            try bitmaps.add("\u{e4}\u{f6}\u{fc}, and blanks")
            try bitmaps.merge(into: "fine", bits: BitmapRig.bits(size, 9, Array(ranges[0..<3])))
            try bitmaps.store("coarse", BitmapRig.bits(size, 12, Array(ranges[3..<6])))
        }
        try qemu.check()
        #expect(try qemu.agreedStates().differences == [])
        // QEMU goes on recording, and we go on changing.
        try qemu.io("write 100k 3k")
        try qemu.check()
        #expect(try qemu.agreedStates().differences == [])
        try qemu.change { bitmaps in
            try bitmaps.merge(into: "coarse", from: ["fine"])
            try bitmaps.subtract("fine", BitmapRig.bits(size, 9, [ranges[6]]))
            try bitmaps.setRecording("coarse", true)
            try bitmaps.remove("\u{e4}\u{f6}\u{fc}, and blanks")
        }
        try qemu.check()
        let (states, differences) = try qemu.agreedStates()
        #expect(differences == [])
        #expect(states.count == 2 && states["coarse"]?.isRecording == true)
        try qemu.bitmap("--merge", "fine", "coarse")
        try qemu.bitmap("--clear", "fine")
        try qemu.bitmap("--disable", "fine")
        #expect(try qemu.agreedStates().differences == [])
        try qemu.change { bitmaps in
            try bitmaps.remove("fine")
            try bitmaps.remove("coarse")
        }
        try qemu.check()
        #expect(try qemu.list() == [])
        try qemu.io("read 0 300k", "write 0 64k")
        try qemu.check()
    }

    @Test
    func `scenario 72: a bitmap outlives read-only opens, and records in many sessions`() throws {
        let size: Int64 = 16 << 20
        let qemu = try BitmapQEMU(size: size)
        try qemu.change { try $0.add("a") }
        try qemu.io("write 0 1M", "write 3M 64k")
        let before = try qemu.memory().content
        try Shell.run("qemu-io", "-r", "-f", "qcow2", "-c", "read 0 1M", qemu.path)
        _ = try BitmapRig.states(qemu.memory())
        #expect(try qemu.memory().content == before)
        try qemu.io("write 5M 1")
        let wanted: [Range<Int64>] = [0..<1_048_576] + [3, 5].map(Self.granule)
        #expect(try BitmapRig.states(qemu.memory())["a"]?.runs == wanted)
        // The same by us: our session between two of QEMU's.
        try qemu.change { bitmaps in
            try bitmaps.markInUse()
            try bitmaps.store(changed: BitmapRig.bits(size, 9, [Self.granule(8)]))
        }
        try qemu.check()
        try qemu.io("write 9M 64k")
        let (states, differences) = try qemu.agreedStates()
        #expect(differences == [])
        #expect(states["a"]?.runs == wanted + [8, 9].map(Self.granule))
    }

    /// The first 64 KiB of a MiB.
    private static func granule(_ mebibyte: Int64) -> Range<Int64> {
        mebibyte << 20..<(mebibyte << 20) + 65536
    }

    @Test
    func `scenario 73: what is given up changes nothing, and merged parts are the whole`() throws {
        let size: Int64 = 4 << 20
        let qemu = try BitmapQEMU(size: size)
        try qemu.change { bitmaps in
            try bitmaps.add("A")
            try bitmaps.add("B")
        }
        try qemu.io("write 0 192k", "write 1M 64k")
        let before = try qemu.memory().content
        for attempt in 0..<2 {
            let file = try qemu.memory()
            let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
            #expect(throws: StorageError.self) {
                try bitmaps.change { transaction throws(StorageError) in
                    if attempt == 0 {
                        try transaction.setRecording("B", false)
                        try transaction.add("C")
                        try transaction.clear("A")
                    } else {
                        try transaction.add("D")
                        try transaction.merge(into: "D", from: ["A", "B"])
                    }
                    try transaction.clear("no such bitmap")
                }
            }
            #expect(file.content == before)
        }
        try qemu.change { bitmaps in
            try bitmaps.change { transaction throws(StorageError) in
                try transaction.setRecording("B", false)
                try transaction.add("C")
            }
        }
        try qemu.io("write 64k 64k", "write 2M 128k", "write 3M 1", "write 3100k 1")
        try qemu.change { bitmaps in
            try bitmaps.change { transaction throws(StorageError) in
                try transaction.add("D", disabled: true)
                try transaction.merge(into: "D", from: ["B", "C"])
            }
        }
        let (states, differences) = try qemu.agreedStates()
        #expect(differences == [])
        #expect(states["D"]?.runs == states["A"]?.runs)
        #expect(states["B"]?.runs == [0..<196608, Self.granule(1)])
        try qemu.check()
    }

    @Test
    func `scenario 78: merging from another image, and from one with another granularity`() throws {
        let size: Int64 = 8 << 20
        let base = try BitmapQEMU(size: size)
        try base.bitmap("--add", "-g", "4096", "x")
        try base.io("write 12k 1", "write 1M 100k")
        let top = try BitmapQEMU(size: size)
        try top.bitmap("--add", "y")
        let source = ImageBitmaps(try base.memory(), try Header.read(from: base.memory()))
        try top.change { try $0.merge(into: "y", bits: source.load("x")) }
        let ours = try top.agreedStates()
        #expect(ours.differences == [])
        try top.bitmap("--add", "z")
        try top.bitmap("--merge", "x", "-b", base.path, "-F", "qcow2", "z")
        let both = try top.agreedStates().ours
        #expect(both["y"]?.runs == both["z"]?.runs && both["y"]?.runs.count == 2)
        try top.check()
    }

    @Test
    func `a process that dies leaves its bitmaps in use, and they can only be removed`() throws {
        let qemu = try BitmapQEMU(size: 8 << 20)
        try qemu.bitmap("--add", "on")
        try qemu.bitmap("--add", "--disable", "off")
        #expect(throws: Shell.Failure.self) { try qemu.io("write 0 64k", "sigraise 9") }
        try expectInUse(qemu, ["on", "off"])
        // Removed by us, QEMU is content; a daemon dies in the same way.
        try qemu.change { try $0.remove("on") }
        try qemu.check()
        try qemu.change { try $0.removeAll() }
        try qemu.check()
        #expect(try qemu.list() == [])
        try qemu.change { try $0.add("again") }
        let pidFile = qemu.scratch.path("pid")
        let daemon = try Child(
            [
                "qemu-storage-daemon", "--pidfile", pidFile, "--blockdev",
                "driver=qcow2,node-name=n,file.driver=file,file.filename=\(qemu.path)",
            ], in: qemu.scratch)
        let isUp = daemon.wait { _ in FileManager.default.fileExists(atPath: pidFile) }
        #expect(isUp, "\(daemon.errors)")
        try expectInUse(qemu, ["again"])
        daemon.kill(group: SIGKILL)
        try expectInUse(qemu, ["again"])
        try qemu.change { try $0.remove("again") }
        try qemu.check()
    }

    private func expectInUse(_ qemu: BitmapQEMU, _ names: [String]) throws {
        let file = try qemu.memory()
        let states = try BitmapRig.states(file)
        #expect(states.keys.sorted() == names.sorted())
        #expect(states.values.allSatisfy { $0.isInconsistent })
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        for name in names {
            for body in [
                { _ = try bitmaps.load(name) }, { try bitmaps.clear(name) },
                { try bitmaps.setRecording(name, true) },
                { try bitmaps.merge(into: name, from: []) },
            ] as [() throws -> Void] {
                let problem = BitmapRig.problem(body)
                #expect(problem?.kind == .refused)
                #expect(problem?.remedy.description.contains("mirror everything once") == true)
            }
        }
        #expect(try bitmaps.list().bitmaps.allSatisfy { $0.dirtyBytes == $0.size })
    }

    @Test func `if we die, QEMU finds the enabled bitmaps in use and the others whole`() throws {
        let qemu = try BitmapQEMU(size: 8 << 20)
        try qemu.bitmap("--add", "on")
        try qemu.io("write 0 64k")
        try qemu.bitmap("--add", "--disable", "off")
        try qemu.bitmap("--merge", "on", "off")
        try qemu.change { try $0.markInUse() }
        try qemu.check()
        let list = try qemu.list()
        #expect(list.map(\.flags) == [["in-use", "auto"], []])
        let (states, differences) = try qemu.agreedStates()
        #expect(differences == [])
        #expect(states["off"]?.runs == [0..<65536])
        try qemu.io("write 1M 64k")
        try qemu.bitmap("--remove", "on")
        try qemu.check()
        #expect(try qemu.agreedStates().differences == [])
    }

    @Test
    func `QEMU lets the bitmaps go where a program has not known them, and so do we`() throws {
        let qemu = try BitmapQEMU(size: 8 << 20)
        try qemu.bitmap("--add", "a")
        let file = try qemu.memory()
        let writer = try BitmapRig.Writer(file)
        var header = writer.header
        header.autoclear = []
        try writer.update(header)
        try file.save(qemu.path)
        #expect(try qemu.list() == [])
        try qemu.change { bitmaps in
            #expect(try bitmaps.list().notes.count == 1)
            try bitmaps.add("b")
        }
        #expect(try qemu.agreedStates().differences == [])
        // What the former bitmaps had is lost until the image is checked.
        try Shell.run("qemu-img", "check", "-r", "leaks", qemu.path)
        try qemu.check()
        #expect(try qemu.agreedStates().ours.keys.sorted() == ["b"])
    }

    @Test func `many bitmaps, in a directory of several clusters`() throws {
        let size: Int64 = 1 << 20
        let qemu = try BitmapQEMU(size: size, options: "cluster_size=512")
        try qemu.change { bitmaps in
            try bitmaps.change { transaction throws(StorageError) in
                for index in 0..<100 {
                    try transaction.add("bitmap number \(index)", disabled: index % 3 == 0)
                }
            }
            try bitmaps.markInUse()
            try bitmaps.store(changed: BitmapRig.bits(size, 9, [70_000..<70_001]))
        }
        try qemu.check()
        let list = try qemu.list()
        #expect(list.count == 100 && list.allSatisfy { !$0.flags.contains("in-use") })
        #expect(try qemu.runs("bitmap number 97") == [65536..<131072])
        #expect(try qemu.runs("bitmap number 99") == [])
        try qemu.change { try $0.removeAll() }
        try qemu.check()
    }
}
