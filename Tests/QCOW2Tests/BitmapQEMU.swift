import BlockStorage
import DirtyBitmap
import Foundation
import TestSupport

@testable import QCOW2

/// QEMU's tools as the judge of what is in an image.
struct BitmapQEMU {
    static var isThere: Bool {
        Shell.has("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo", "qemu-storage-daemon")
    }

    let scratch: Scratch
    let path: String

    /// A new image in a directory of its own.
    init(size: Int64, options: String = "cluster_size=65536") throws {
        scratch = try Scratch()
        path = scratch.path("disk.qcow2")
        try Shell.run("qemu-img", "create", "-f", "qcow2", "-o", options, path, "\(size)")
    }

    func bitmap(_ arguments: String...) throws {
        try Shell.run("qemu-img", ["bitmap"] + arguments.dropLast() + [path, arguments.last ?? ""])
    }

    func io(_ commands: String...) throws {
        try Shell.run("qemu-io", ["-f", "qcow2"] + commands.flatMap { ["-c", $0] } + [path])
    }

    /// Nothing leaks and nothing is broken; 0 is the only answer taken.
    func check() throws { try Shell.run("qemu-img", "check", path) }

    struct Listed: Equatable {
        var name: String
        var granularity: Int64
        var flags: Set<String>
    }

    func list() throws -> [Listed] {
        let text = try Shell.run("qemu-img", "info", "-U", "--output=json", path)
        // Warnings may come before it.
        let object = text.drop { $0 != "{" }
        let json = try JSONSerialization.jsonObject(with: Data(object.utf8)) as? [String: Any]
        let specific = json?["format-specific"] as? [String: Any]
        let data = specific?["data"] as? [String: Any]
        let bitmaps = data?["bitmaps"] as? [[String: Any]] ?? []
        return bitmaps.map {
            Listed(
                name: $0["name"] as? String ?? "",
                granularity: ($0["granularity"] as? NSNumber)?.int64Value ?? 0,
                flags: Set($0["flags"] as? [String] ?? []))
        }
    }

    struct Unreadable: Error {
        let text: String
    }

    /// What an NBD client sees of a bitmap; the image that is served is a copy.
    func runs(_ name: String) throws -> [Range<Int64>] {
        let copy = scratch.path("copy.qcow2")
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        let text = try Shell.run(
            "nbdinfo", "--map=qemu:dirty-bitmap:\(name)", "--", "[", "qemu-nbd", "-f", "qcow2",
            "-B",
            name, copy, "]")
        var runs: [Range<Int64>] = []
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 3, let start = Int64(fields[0]), let length = Int64(fields[1])
            else { throw Unreadable(text: text) }
            guard fields[2] == "1" else { continue }
            if runs.last?.upperBound == start {
                runs[runs.count - 1] = runs[runs.count - 1].lowerBound..<(start + length)
            } else {
                runs.append(start..<(start + length))
            }
        }
        return runs
    }

    /// The image as it is now.
    func memory() throws -> MemoryImage { try MemoryImage(path: path) }

    /// Changes the image with our code.
    func change(_ body: (ImageBitmaps) throws -> Void) throws {
        let file = try memory()
        try body(ImageBitmaps(try BitmapRig.Writer(file)))
        try file.save(path)
    }

    /// What our code says, and that QEMU says the same.
    func agreedStates() throws -> (ours: BitmapRig.States, differences: [String]) {
        let ours = try BitmapRig.states(memory())
        var differences: [String] = []
        var theirs: BitmapRig.States = [:]
        for item in try list() {
            var state = BitmapRig.State(
                shift: item.granularity.trailingZeroBitCount,
                isRecording: item.flags.contains("auto"),
                isInconsistent: item.flags.contains("in-use"))
            if !state.isInconsistent { state.runs = try runs(item.name) }
            theirs[item.name] = state
        }
        for name in Set(ours.keys).union(theirs.keys).sorted() where ours[name] != theirs[name] {
            let both = [ours[name], theirs[name]].map { $0.map { "\($0)" } ?? "nothing" }
            differences.append("\(name): we say \(both[0]), QEMU \(both[1])")
        }
        return (ours, differences)
    }
}
