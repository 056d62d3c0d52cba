import Testing

@testable import DirtyBitmap

/// Rounding of integers, against a search that knows no arithmetic.
@Suite struct IntegerRoundingTests {
    @Test(arguments: [1, 2, 8, 64, 512] as [Int64])
    func `multiples around every number`(_ unit: Int64) {
        for number in -1030...1030 as ClosedRange<Int64> {
            let up = (number..<(number + unit)).first { $0 % unit == 0 }
            let down = (number - unit + 1...number).last { $0 % unit == 0 }
            #expect(number.roundedUp(to: unit) == up)
            #expect(number.roundedDown(to: unit) == down)
        }
    }

    @Test func `numbers at the ends of their type`() {
        #expect(Int64.max.roundedDown(to: 4096) == Int64.max - 4095)
        #expect((Int64.max - 4095).roundedUp(to: 4096) == Int64.max - 4095)
        #expect(UInt64.max.roundedDown(to: 1 << 63) == 1 << 63)
        #expect(Int64.max.dividedRoundingUp(by: 2) == 1 << 62)
    }

    @Test(arguments: [1, 3, 7, 64] as [Int])
    func `pieces that cover a number`(_ unit: Int) {
        for number in 0...200 {
            let pieces = (0...200).first { $0 * unit >= number }
            #expect(number.dividedRoundingUp(by: unit) == pieces)
        }
    }

    @Test func `units that can't be stop the program`() async {
        await #expect(processExitsWith: .failure) { _ = 100.roundedUp(to: 3) }
        await #expect(processExitsWith: .failure) { _ = 100.roundedDown(to: 0) }
        await #expect(processExitsWith: .failure) { _ = Int64(1).roundedUp(to: .min) }
        await #expect(processExitsWith: .failure) { _ = Int64.max.roundedUp(to: 4096) }
        await #expect(processExitsWith: .failure) { _ = (-1).dividedRoundingUp(by: 8) }
    }
}
