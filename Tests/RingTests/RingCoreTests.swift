import CLiburing
import Glibc
import Testing

@testable import Ring

/// A ring in the kernel's own terms, with entries and completions of either size.
@Suite struct RingCoreTests {
    struct Sizes: Sendable, CustomTestStringConvertible {
        let entry: Bool
        let completion: Bool

        var testDescription: String {
            "entries of \(entry ? 128 : 64) bytes, completions of \(completion ? 32 : 16)"
        }

        func ring(depth: Int) throws(RingError) -> RingCore {
            var options = RingOptions(depth: depth)
            options.hasWideEntries = entry
            options.hasWideCompletions = completion
            return try RingCore(options)
        }
    }

    static let sizes = [
        Sizes(entry: false, completion: false), Sizes(entry: false, completion: true),
        Sizes(entry: true, completion: false), Sizes(entry: true, completion: true),
    ]

    private static let nop = RingEntry(operation: ringmirror_op_nop)

    /// Takes everything that is in flight; each result must be 0.
    private func tokens(_ ring: inout RingCore) throws -> [Token] {
        try ring.submitAndWait(minimum: ring.inFlight, timeoutNanoseconds: nil)
        var tokens: [Token] = []
        while let completion = ring.nextCompletion() {
            #expect(completion.result == 0)
            #expect(completion.extra == (0, 0))
            tokens.append(completion.token)
        }
        #expect(ring.inFlight == 0)
        return tokens.sorted()
    }

    @Test(arguments: sizes)
    func `every entry comes back with its token, many times around`(_ sizes: Sizes) throws {
        var ring = try sizes.ring(depth: 8)
        let entryBytes = ring.entryBytes
        #expect(entryBytes == (sizes.entry ? 128 : 64))
        let knowsNop = ring.supports(operation: ringmirror_op_nop)
        let knowsAll = ring.supports(operation: 255)
        #expect(knowsNop && !knowsAll)
        var next: Token = 1 << 40
        for round in 0..<100 {
            let expected = (0...UInt64(round % 8)).map { next + $0 }
            for token in expected { ring.enqueue(Self.nop, token: token) }
            next += Token(expected.count)
            let taken = try tokens(&ring)
            #expect(taken == expected)
        }
        let statistics = ring.statistics
        #expect(statistics.submissions == next - 1 << 40 && statistics.enters == 100)
        #expect(statistics.completions == statistics.submissions)
    }

    /// The bytes of a command reach to the end of an entry. If the kernel saw entries at other
    /// places, it would find these for an operation, which no kernel has.
    @Test(arguments: sizes)
    func `commands fill their entries and nothing of the next ones`(_ sizes: Sizes) throws {
        var ring = try sizes.ring(depth: 8)
        let command = [UInt8](repeating: 0xff, count: sizes.entry ? 80 : 16)
        for round in 0..<20 {
            let expected = (0..<8).map { Token(round * 8 + $0) }
            for token in expected {
                ring.enqueue(Self.nop, token: token, command: command.span.bytes)
            }
            let taken = try tokens(&ring)
            #expect(taken == expected)
        }
    }

    @Test(arguments: sizes)
    func `consecutive entries lie behind each other and don't overlap`(_ sizes: Sizes) throws {
        var ring = try sizes.ring(depth: 8)
        let bytes = ring.entryBytes
        for round in 0..<5 {
            // Not a whole queue at a time, so that some lie across its end.
            let entries = (0..<5).map { _ in ring.nextEntry() }
            let starts = entries.map { UInt(bitPattern: $0.baseAddress) }.sorted()
            for (first, second) in zip(starts, starts.dropFirst()) {
                #expect(second - first >= UInt(bytes))
            }
            #expect(round > 0 || starts[4] - starts[0] == UInt(4 * bytes))
            // From the last to the first and back: what one writes too far is there to be found.
            for (token, entry) in entries.enumerated().reversed() {
                entry.initializeMemory(as: UInt8.self, repeating: UInt8(token + 1))
            }
            for (token, entry) in entries.enumerated() {
                #expect(entry.count == bytes && entry.allSatisfy { $0 == UInt8(token + 1) })
                Self.nop.write(to: entry, token: Token(token))
                #expect(entry[RingEntry.commandOffset...].allSatisfy { $0 == 0 })
            }
            let taken = try tokens(&ring)
            #expect(taken == [0, 1, 2, 3, 4])
        }
    }

    @Test func `a command that is longer than its entry is refused`() async {
        await #expect(processExitsWith: .trap) {
            var ring = try RingCore(RingOptions(depth: 1))
            let command = [UInt8](repeating: 0, count: 17)
            ring.enqueue(
                RingEntry(operation: ringmirror_op_nop), token: 1, command: command.span.bytes)
            ring.forsake()
        }
    }

    @Test func `a wide ring that the kernel hasn't got is an error`() throws {
        try TestThread {
            try #require(SystemCallFilter.fail(SystemCallFilter.ioUringSetup, with: EINVAL))
            var options = RingOptions(depth: 1)
            options.hasWideEntries = true
            let failure = #expect(throws: RingError.self) { _ = try RingCore(options) }
            #expect(failure == .systemCall("io_uring_setup", code: EINVAL))
        }.join()
    }
}
