import DirtyBitmap
import Testing

@testable import MirrorEngine

/// What is known of two disks after passes of a comparison, while they are written.
@Suite struct LivePassesTests {
    private static let size: Int64 = 1 << 20

    private func bits(_ blocks: Int...) -> DirtyBitmap {
        var bits = DirtyBitmap(size: Self.size)
        for block in blocks { bits.set(Int64(block) << 16..<Int64(block + 1) << 16) }
        return bits
    }

    private func all() -> DirtyBitmap {
        var bits = DirtyBitmap(size: Self.size)
        bits.setAll()
        return bits
    }

    @Test func `what is the same and was not written is done`() {
        var passes = LivePasses(all: all(), excused: nil)
        let next = passes.note(differing: bits(), first: bits(), second: bits())
        #expect(next == .done && passes.count == 1)
    }

    @Test func `what was written is compared again, also where it was the same`() {
        var passes = LivePasses(all: all(), excused: nil)
        let next = passes.note(differing: bits(3), first: bits(1), second: bits(2))
        let undecided = passes.undecided.dirtyBytes
        #expect(next == .again && undecided == 3 << 16)
        let last = passes.note(differing: bits(), first: bits(), second: bits())
        #expect(last == .done)
    }

    @Test func `a difference that stays where nothing is written is one`() {
        var passes = LivePasses(all: all(), excused: nil)
        for _ in 0..<3 {
            let next = passes.note(differing: bits(3), first: bits(1), second: bits())
            #expect(next == .again)
        }
        let next = passes.note(differing: bits(3), first: bits(1), second: bits())
        #expect(next == .different)
    }

    @Test func `a difference that is written again and again is none yet`() {
        var passes = LivePasses(all: all(), excused: nil)
        for round in 0..<10 {
            let written = round % 3 == 0 ? bits(3) : bits()
            let next = passes.note(differing: bits(3), first: written, second: bits())
            #expect(next == .again, "pass \(round)")
        }
    }

    @Test func `what a bitmap has marked, or gets, need not be the same`() {
        var passes = LivePasses(all: all(), excused: bits(3))
        let first = passes.undecided.dirtyBytes
        #expect(first == Self.size - 1 << 16)
        // What was written to the second disk, no bitmap has.
        let next = passes.note(differing: bits(5), first: bits(5), second: bits(6))
        let undecided = passes.undecided.dirtyBytes
        #expect(next == .again && undecided == 1 << 16)
        let last = passes.note(differing: bits(), first: bits(), second: bits())
        let excused = passes.excusedBytes
        #expect(last == .done && excused == 2 << 16)
        // So it is with what is written while the second disk comes to rest.
        passes.goOn(first: bits(7), second: bits(8))
        let (later, rest) = (passes.excusedBytes, passes.undecided.dirtyBytes)
        #expect(later == 3 << 16 && rest == 1 << 16)
    }

    @Test func `without a bitmap all that is written meanwhile is compared`() {
        var passes = LivePasses(all: all(), excused: nil)
        passes.goOn(first: bits(7), second: bits(8))
        let (excused, rest) = (passes.excusedBytes, passes.undecided.dirtyBytes)
        #expect(excused == nil && rest == 2 << 16)
    }
}
