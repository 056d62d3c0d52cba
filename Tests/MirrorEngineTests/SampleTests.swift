import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import MirrorEngine

/// What a few looks at two disks find.
@Suite(.timeLimit(.minutes(20))) struct SampleTests {
    private static let kiB = 1 << 10
    private static let miB = 1 << 20

    /// A sparse file with bytes in some places.
    private func disk(
        _ name: String, size: Int, _ bytes: UInt8, in ranges: [Range<Int>], _ scratch: Scratch
    ) throws -> Disk {
        let path = try scratch.file(name, size: Int64(size))
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        for range in ranges {
            try file.seek(toOffset: UInt64(range.lowerBound))
            try file.write(contentsOf: Data(repeating: bytes, count: range.count))
        }
        try file.close()
        return try Disk.openSource(FilePath(path))
    }

    private func bits(_ size: Int, shift: Int, _ dirty: [Range<Int>]) throws -> DirtyBitmap {
        var bits = DirtyBitmap(
            size: Int64(size), granularity: try Granularity(bytes: 1 << Int64(shift)))
        for range in dirty { bits.set(Int64(range.lowerBound)..<Int64(range.upperBound)) }
        return bits
    }

    @Test func `what will be copied is not looked at`() throws {
        let scratch = try Scratch()
        let size = 8 * Self.miB + 700
        let source = try disk("s", size: size, 1, in: [0..<size], scratch)
        let target = try disk("t", size: size, 2, in: [0..<size], scratch)
        let all = Sample.compare(source, target, without: try bits(size, shift: 16, [0..<size]))
        #expect(all.places == 0 && all.difference == nil)
        // One granule is left out, also where a block has more than one.
        for shift in [9, 12, 20] {
            let granule = 1 << shift
            for start in [0, 3 * Self.miB, (size - 1) / granule * granule] {
                let end = min(start + granule, size)
                let found = Sample.compare(
                    source, target,
                    without: try bits(size, shift: shift, [0..<start, end..<size]))
                #expect(found.places > 0, "\(shift) \(start)")
                let difference = try #require(found.difference)
                #expect((start..<end).contains(Int(difference)), "\(shift) \(start)")
            }
        }
    }

    @Test func `equal disks are equal`() throws {
        let scratch = try Scratch()
        let size = 8 * Self.miB + 700
        let source = try disk("s", size: size, 1, in: [0..<size], scratch)
        // What a larger target has behind the end is not looked at.
        let target = try disk("t", size: size + 5 * Self.kiB, 1, in: [0..<size], scratch)
        let found = Sample.compare(source, target, without: try bits(size, shift: 16, []))
        #expect(found.places == 80 && found.difference == nil)
    }

    @Test func `data in many zeros is found`() throws {
        let scratch = try Scratch()
        let size = 1 << 30
        let place = 700 * Self.miB..<700 * Self.miB + 64 * Self.kiB
        let source = try disk("s", size: size, 1, in: [place], scratch)
        let zeros = try disk("z", size: size, 0, in: [], scratch)
        // As data of either side.
        for (first, second) in [(source, zeros), (zeros, source)] {
            let found = Sample.compare(first, second, without: try bits(size, shift: 16, []))
            #expect(place.contains(Int(try #require(found.difference))))
        }
        // Nothing was compared where both are known to be zeros.
        let none = Sample.compare(zeros, zeros, without: try bits(size, shift: 16, []))
        #expect(none.places == 0 && none.difference == nil)
    }

    @Test(.enabled(if: Shell.has("qemu-img", "qemu-io")), arguments: [false, true])
    func `an image is read through its chain`(isCompressed: Bool) throws {
        let scratch = try Scratch()
        let size = 8 * Self.miB
        _ = try disk("raw", size: size, 7, in: [0..<size], scratch)
        let (raw, base, image) = (scratch.path("raw"), scratch.path("b"), scratch.path("i"))
        let convert = ["convert", "-f", "raw", "-O", "qcow2"] + (isCompressed ? ["-c"] : [])
        try Shell.run("qemu-img", convert + [raw, base])
        try Shell.run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
        let target = try Disk.openSource(FilePath(raw))
        var found = Sample.compare(
            try Disk.openSource(FilePath(image), format: .qcow2), target,
            without: try bits(size, shift: 16, []))
        #expect(found.places == 80 && found.difference == nil)
        try Shell.run("qemu-io", "-f", "qcow2", "-c", "write -P 8 0 4M", image)
        found = Sample.compare(
            try Disk.openSource(FilePath(image), format: .qcow2), target,
            without: try bits(size, shift: 16, []))
        #expect(found.difference == 0)
    }
}
