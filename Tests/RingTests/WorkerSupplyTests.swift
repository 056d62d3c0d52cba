import Testing

@testable import Ring

@Suite("Whether the kernel has workers")
struct WorkerSupplyTests {
    /// How many of the next calls go to the kernel, which answers each the same way.
    private func taken(
        _ supply: inout WorkerSupply, of count: Int, served: (Int) -> Bool
    ) -> Int {
        var taken = 0
        for call in 0..<count where supply.takesNext() {
            taken += 1
            if served(call) { supply.served() } else { supply.refused() }
        }
        return taken
    }

    @Test("Where the kernel does what it is given, it gets everything")
    func served() {
        var supply = WorkerSupply()
        #expect(taken(&supply, of: 1000) { _ in true } == 1000)
    }

    @Test("A few calls that are given up change nothing")
    func few() {
        var supply = WorkerSupply()
        #expect(taken(&supply, of: 9000) { $0 % 9 != 0 } == 9000)
        #expect(!supply.isShort)
    }

    @Test("Where it does nothing, it gets four calls, and then ever fewer")
    func refused() {
        var supply = WorkerSupply()
        #expect(taken(&supply, of: 4) { _ in false } == 4)
        #expect(supply.isShort)
        #expect(taken(&supply, of: 64) { _ in false } == 1)
        #expect(taken(&supply, of: 1 << 16) { _ in false } == 9)
        // However long that lasts, one goes there again.
        #expect(taken(&supply, of: 1 << 20) { _ in false } >= 16)
    }

    @Test("Where some calls need no worker, the others don't keep it waiting")
    func mixed() {
        var supply = WorkerSupply()
        var refusals = 0
        _ = taken(&supply, of: 100_000) { call in
            refusals += call % 2
            return call % 2 == 0
        }
        #expect(refusals < 2500)
    }

    @Test("Once it has workers again, it gets everything again")
    func recovered() {
        var supply = WorkerSupply()
        for _ in 0..<40 { supply.refused() }
        #expect(taken(&supply, of: 1 << 16) { _ in true } > 0)
        #expect(!supply.isShort)
        #expect(taken(&supply, of: 1000) { _ in true } == 1000)
    }

    @Test("Calls that were on their way say the same")
    func late() {
        var supply = WorkerSupply()
        for _ in 0..<200 { supply.refused() }
        supply.served()
        #expect(!supply.isShort)
        supply.refused()
        #expect(supply.isShort)
    }
}
