import RingMirror
import Testing

@testable import RingMirrorCLI

@Suite struct TransferCaseTests {
    private let cases = TransferCase.all(
        patterns: DirtyPattern.allCases, percents: [30, 0.1, 100])

    @Test func `the full mirror comes first and shares ascend`() {
        #expect(cases.count == 10)
        #expect(cases.first == .full)
        #expect(cases.prefix(4).map(\.share) == [nil, 0.001, 0.3, 1])
        #expect(cases[3].title == "random 100 %")
        #expect(cases[1].title == "random 0.1 %")
    }

    @Test func `a round has every case once in an order by the seed`() {
        func orders(_ seed: UInt64) -> [[Int]] {
            var numbers = SeededNumbers(seed: seed)
            return (0..<3).map { _ in
                TransferCase.round(of: cases, numbers: &numbers).map(\.index)
            }
        }
        #expect(orders(1).allSatisfy { $0.sorted() == Array(cases.indices) })
        #expect(orders(1) == orders(1))
        #expect(orders(1) != orders(2))
        #expect(Set(orders(1)).count == 3)
    }

    @Test func `lists on the command line`() {
        #expect(PercentList(argument: "10,0.1,10")?.percents == [0.1, 10])
        for text in ["", "0", "101", "1,", "nan", "1 %", "-1"] {
            #expect(PercentList(argument: text) == nil, "\(text)")
        }
        #expect(PatternList(argument: "sequential,random")?.patterns == [.random, .sequential])
        #expect(PatternList(argument: "random,other") == nil)
        #expect(ByteSize(bytes: 64 << 10).defaultValueDescription == "64K")
        #expect(ByteSize(bytes: 4 << 20).defaultValueDescription == "4M")
        #expect(ByteSize(bytes: 1500).defaultValueDescription == "1500")
    }

    @Test func `numbers in the table`() {
        #expect(Seconds.fixed(0, digits: 3) == "0.000")
        #expect(Seconds.fixed(1.0005, digits: 2) == "1.00")
        #expect(Seconds.fixed(12.3456, digits: 3) == "12.346")
        #expect(Seconds.fixed(0.05, digits: 1) == "0.1")
    }
}
