import Testing

@testable import ChangeMap

@Suite struct CollectorTests {
    private let source = ChangeMapInput(name: "map", deviceSize: 10_000)

    private func collector(
        _ order: ExtentCollector.Order = .ascending, unit: Int64 = 1, overhang: Int64? = nil
    ) -> ExtentCollector {
        ExtentCollector(source, order: order, unit: unit, overhang: overhang)
    }

    @Test func `neighbours of one meaning become one extent`() throws {
        var extents = collector()
        try extents.add(0, count: 10, .copy, at: .line(1))
        try extents.add(10, count: 10, .copy, at: .line(2))
        try extents.add(20, count: 10, .zero, at: .line(3))
        try extents.add(40, count: 10, .zero, at: .line(4))
        let map = try extents.finish(.ranges, gaps: .skip)
        #expect(map.lines == ["copy 0..<20", "zero 20..<30", "zero 40..<50"])
    }

    @Test func `unsorted entries are sorted and joined`() throws {
        var extents = collector(.any)
        for start in [30, 10, 20, 50, 0] as [Int64] {
            try extents.add(start, count: 10, .copy, at: .line(1))
        }
        #expect(
            try extents.finish(.ranges, gaps: .skip).lines == ["copy 0..<40", "copy 50..<60"])
    }

    @Test func `units overflow past the end, not around it`() {
        for (first, count) in [
            (Int64.max, Int64(1)), (1, .max), (.max / 4096 + 1, 1), (0, .max / 4096 + 1), (3, 1),
            (0, 4),
        ] {
            expectError(.beyondDevice) { () throws(ChangeMapError) in
                var extents = collector(unit: 4096)
                try extents.add(first, count: count, .copy, at: .line(1))
                return try extents.finish(.ranges, gaps: .skip)
            }
        }
    }

    @Test func `a last unit is cut at the end of the disk`() throws {
        var extents = collector(unit: 4096)
        try extents.add(1, count: 2, .copy, at: .line(1))
        #expect(try extents.finish(.ranges, gaps: .skip).lines == ["copy 4096..<10000"])
    }

    @Test func `entries don't reach behind the size that the file gives`() throws {
        for unit in [1, 512] as [Int64] {
            expectError(.beyondDevice, "its own map") { () throws(ChangeMapError) in
                var extents = collector(unit: unit)
                try extents.declare(size: 512, at: .line(1))
                try extents.add(1, count: 512, .copy, at: .line(2))
                return try extents.finish(.ranges, gaps: .skip)
            }
        }
    }

    @Test func `nothing and less than nothing are no entries`() {
        for (first, count) in [(Int64(0), Int64(0)), (0, -1), (-1, 1), (-1, .min), (.min, .max)] {
            expectError(.malformed, "line 7") { () throws(ChangeMapError) in
                var extents = collector()
                try extents.add(first, count: count, .copy, at: .line(7))
                return try extents.finish(.ranges, gaps: .skip)
            }
        }
    }
}
