import Foundation
import TestSupport
import Testing

/// QEMU's own tools, which make the images and judge what became of them. Nothing of ours is asked
/// whether ours is right.
enum QEMU {
    static let isThere = Shell.has("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo")
    static let reason: Comment = "needs qemu-img, qemu-io, qemu-nbd and nbdinfo"

    /// True if a program can hold an image as a virtual machine does.
    static let hasDaemon = isThere && Shell.has("qemu-storage-daemon")
    static let daemonReason: Comment = "needs qemu-storage-daemon"

    @discardableResult
    static func img(_ arguments: String...) throws -> String { try img(arguments) }

    @discardableResult
    static func img(_ arguments: [String]) throws -> String {
        try Shell.run("qemu-img", arguments)
    }

    /// Makes a qcow2 image, over another one if there is one.
    @discardableResult
    static func create(
        _ path: String, size: Int64? = nil, options: [String] = [],
        over backing: (path: String, format: String)? = nil
    ) throws -> String {
        var arguments = ["create", "-q", "-f", "qcow2"]
        if !options.isEmpty { arguments += ["-o", options.joined(separator: ",")] }
        if let backing { arguments += ["-b", backing.path, "-F", backing.format] }
        try img(arguments + [path] + (size.map { [String($0)] } ?? []))
        return path
    }

    /// Runs commands as a guest would send them, all in one process: starting it is what is slow.
    static func io(_ path: String, format: String = "qcow2", _ commands: [String]) throws {
        guard !commands.isEmpty else { return }
        try Shell.run("qemu-io", ["-f", format] + commands.flatMap { ["-c", $0] } + [path])
    }

    /// What a tool says with `--output=json`, where that is an object.
    static func json(_ arguments: String...) throws -> Event {
        let text = try img(arguments + ["--output=json"])
        // There may be warnings before it.
        return try #require(Event(String(text.drop { $0 != "{" })), "not a JSON object: \(text)")
    }

    static func info(_ path: String) throws -> Event { try json("info", "-f", "qcow2", path) }

    /// What `qemu-img info` has for qcow2 alone.
    static func details(_ path: String) throws -> Event {
        let details = try info(path).event("format-specific")?.event("data")
        return try #require(details)
    }

    /// Writes what an image reads as, all layers together, to a new raw file.
    @discardableResult
    static func flatten(
        _ path: String, format: String = "qcow2", to raw: String, size: Int64? = nil
    ) throws -> String {
        try img("convert", "-f", format, "-O", "raw", path, raw)
        if let size { try Shell.run("truncate", "-s", String(size), raw) }
        return raw
    }

    struct PersistentBitmap: Equatable {
        let granularity: Int64
        let isEnabled: Bool
        let isInUse: Bool
    }

    /// The bitmaps of an image.
    static func bitmaps(_ path: String) throws -> [String: PersistentBitmap] {
        let list = try details(path).fields["bitmaps"] as? [[String: Any]] ?? []
        var result: [String: PersistentBitmap] = [:]
        for entry in list {
            let name = try #require(entry["name"] as? String)
            let flags = entry["flags"] as? [String] ?? []
            let granularity = (entry["granularity"] as? NSNumber)?.int64Value ?? 0
            result[name] = PersistentBitmap(
                granularity: granularity, isEnabled: flags.contains("auto"),
                isInUse: flags.contains("in-use"))
        }
        return result
    }

    /// The granules that a bitmap of an image has, asked of a server that has a copy of it open:
    /// who opens the image itself for writing writes its bitmaps too.
    static func dirty(
        _ path: String, _ bitmap: String, granule: Int64 = 64 * kiB
    ) throws -> Set<Int64> {
        let copy = path + ".asked.qcow2"
        try Shell.run("cp", "--sparse=always", path, copy)
        defer { unlink(copy) }
        let text = try Shell.run(
            "nbdinfo", "--map=qemu:dirty-bitmap:\(bitmap)", "--json", "--", "[", "qemu-nbd", "-f",
            "qcow2", "-B", bitmap, copy, "]")
        let json = try JSONSerialization.jsonObject(with: Data(text.utf8))
        let extents = try #require(json as? [[String: Any]], "\(text)")
        var result: Set<Int64> = []
        for extent in extents where (extent["type"] as? NSNumber)?.intValue == 1 {
            let offset = try #require((extent["offset"] as? NSNumber)?.int64Value)
            let length = try #require((extent["length"] as? NSNumber)?.int64Value)
            result.formUnion(offset / granule...(offset + length - 1) / granule)
        }
        return result
    }

    /// A part of an image's map: what `qemu-img map` tells of one stretch.
    struct Stretch {
        let start: Int64
        let length: Int64
        let depth: Int
        let isPresent: Bool
        let isZero: Bool
    }

    static func map(_ path: String) throws -> [Stretch] {
        let text = try img("map", "--output=json", "-f", "qcow2", path)
        let json = try JSONSerialization.jsonObject(with: Data(text.utf8))
        return try #require(json as? [[String: Any]]).map { stretch in
            Stretch(
                start: (stretch["start"] as? NSNumber)?.int64Value ?? -1,
                length: (stretch["length"] as? NSNumber)?.int64Value ?? -1,
                depth: (stretch["depth"] as? NSNumber)?.intValue ?? -1,
                isPresent: stretch["present"] as? Bool ?? false,
                isZero: stretch["zero"] as? Bool ?? false)
        }
    }

    /// Bytes that the image itself has something to say about, not a layer below.
    static func ownBytes(_ path: String) throws -> Int64 {
        try map(path).filter { $0.depth == 0 && $0.isPresent }.reduce(0) { $0 + $1.length }
    }
}

/// QEMU's check of an image: no errors, and no leaks unless they are expected.
func expectSound(
    _ path: String, leaksAllowed: Bool = false, _ comment: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    do {
        try QEMU.img("check", "-f", "qcow2", path)
    } catch let failure as Shell.Failure where failure.status == 3 && leaksAllowed {
    } catch {
        Issue.record("\(error) \(comment())", sourceLocation: sourceLocation)
    }
}

/// QEMU's comparison of what two images read as.
func expectIdentical(
    _ first: String, _ second: String, formats: (String, String) = ("qcow2", "qcow2"),
    shared: Bool = false, _ comment: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    let share = shared ? ["-U"] : []
    do {
        try QEMU.img(
            ["compare"] + share + ["-f", formats.0, "-F", formats.1, first, second])
    } catch {
        Issue.record("\(error) \(comment())", sourceLocation: sourceLocation)
    }
}

extension Scratch {
    /// Runs a command of ringmirror that must succeed.
    @discardableResult
    func succeed(
        _ arguments: [String], _ comment: @autoclosure () -> String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Child.End {
        let end = try run(arguments)
        #expect(
            end.code == Code.done, "\(arguments): \(end) \(comment())",
            sourceLocation: sourceLocation)
        return end
    }

    @discardableResult
    func succeed(
        _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Child.End {
        try succeed(arguments, sourceLocation: sourceLocation)
    }

    /// Runs a command that must be turned down before anything is written: with one of these codes,
    /// for a reason in which all the words are, and with not a byte of these files changed.
    @discardableResult
    func expectTurnedDown(
        _ arguments: [String], codes: Set<Int32> = [Code.refused], naming words: [String],
        untouched: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Child.End {
        let before = try untouched.map { try Content.fingerprint($0) }
        let end = try run(arguments)
        #expect(
            end.code.map(codes.contains) == true, "\(arguments): \(end)",
            sourceLocation: sourceLocation)
        for word in words {
            #expect(
                end.errors.lowercased().contains(word.lowercased()),
                "\(word) in \(arguments): \(end)", sourceLocation: sourceLocation)
        }
        let after = try untouched.map { try Content.fingerprint($0) }
        #expect(before == after, "\(arguments)", sourceLocation: sourceLocation)
        return end
    }

    /// A raw image as a disk in use is: data in places, zeros that are written, and holes.
    @discardableResult
    func patchwork(_ name: String, size: Int64, seed: UInt64) throws -> String {
        let path = try file(name, size: size)
        var generator = SeededGenerator(seed: seed)
        for number in 0..<6 {
            let start = Int64.random(in: 0..<size, using: &generator)
            let length = min(size - start, Int64.random(in: 1...300 * kiB, using: &generator))
            if number % 3 == 2 {
                try Content.zeros(to: path, start..<start + length)
            } else {
                try Content.write(seed &+ UInt64(number), to: path, start..<start + length)
            }
        }
        return path
    }
}
