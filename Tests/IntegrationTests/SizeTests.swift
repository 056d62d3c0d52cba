import Foundation
import TestSupport
import Testing

extension Processes {
    /// Images of every awkward length.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Sizes {
        static let sizes: [Int64] = [
            0, 1, 511, 512, 4097, miB - 1, miB, 3 * miB + 4096 + 513,
        ]

        @Test(arguments: sizes)
        func `a new image is the source, to the byte`(size: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: size, seed: 1)
            let target = scratch.path("target")
            let report = try scratch.mirror(source, target, "--create")
            #expect(try Content.size(target) == size)
            #expect(report.number("planned") == size)
            #expect(report.number("done") == size)
            expectSame(source, target)
        }

        @Test(arguments: sizes)
        func `garbage in the target is gone`(size: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: size, seed: 1)
            let target = try scratch.image("target", size: size, seed: 2)
            try scratch.mirror(source, target)
            #expect(try Content.size(target) == size)
            expectSame(source, target)
        }

        @Test(arguments: sizes)
        func `a source that is one hole clears the target`(size: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: size)
            let target = try scratch.image("target", size: size, seed: 2)
            let report = try scratch.mirror(source, target)
            #expect(report.number("read") == 0 || size < 128 * kiB)
            #expect(try Content.size(target) == size)
            expectSame(source, target)
        }

        @Test(arguments: sizes)
        func `bytes beyond the source stay with --allow-larger`(size: Int64) throws {
            let scratch = try Scratch()
            let larger = size + miB + 777
            let source = try scratch.image("source", size: size, seed: 1)
            let target = try scratch.image("target", size: larger, seed: 2)
            let before = try Content.read(target, size..<larger)
            try scratch.mirror(source, target, "--allow-larger", "--verify")
            #expect(try Content.size(target) == larger)
            expectSame(source, target, count: size)
            #expect(try Content.read(target, size..<larger) == before)
        }

        @Test(arguments: sizes)
        func `another size is refused`(size: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: size, seed: 1)
            for other in [size - 1, size + 1] where other >= 0 {
                let target = try scratch.image("target", size: other, seed: 2)
                let before = try Content.fingerprint(target)
                let end = try scratch.run("full", source, target, "--overwrite")
                #expect(end.code == Code.refused, "\(end)")
                #expect(end.errors.contains(other < size ? "too small" : "--allow-larger"))
                #expect(try Content.fingerprint(target) == before)
                #expect(try Content.size(target) == other)
            }
        }

        @Test func `qemu-img finds no difference either`() throws {
            try #require(Shell.has("qemu-img"))
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 16 * miB, seed: 1)
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create")
            try Shell.run("qemu-img", "compare", "-s", "-f", "raw", "-F", "raw", source, target)
        }
    }
}
