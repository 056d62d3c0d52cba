import Testing

@testable import Ring

/// Whether the kernel has workers.
@Suite struct WorkerSupplyTests {
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

    @Test func `where the kernel does what it is given, it gets everything`() {
        var supply = WorkerSupply()
        #expect(taken(&supply, of: 1000) { _ in true } == 1000)
    }

    @Test func `a few calls that are given up change nothing`() {
        var supply = WorkerSupply()
        #expect(taken(&supply, of: 9000) { $0 % 9 != 0 } == 9000)
        #expect(!supply.isShort)
    }

    @Test func `where it does nothing, it gets four calls, and then ever fewer`() {
        var supply = WorkerSupply()
        #expect(taken(&supply, of: 4) { _ in false } == 4)
        #expect(supply.isShort)
        #expect(taken(&supply, of: 64) { _ in false } == 1)
        #expect(taken(&supply, of: 1 << 16) { _ in false } == 9)
        // However long that lasts, one goes there again.
        #expect(taken(&supply, of: 1 << 20) { _ in false } >= 16)
    }

    @Test func `where some calls need no worker, the others don't keep it waiting`() {
        var supply = WorkerSupply()
        var refusals = 0
        _ = taken(&supply, of: 100_000) { call in
            refusals += call % 2
            return call % 2 == 0
        }
        #expect(refusals < 2500)
    }

    @Test func `once it has workers again, it gets everything again`() {
        var supply = WorkerSupply()
        for _ in 0..<40 { supply.refused() }
        #expect(taken(&supply, of: 1 << 16) { _ in true } > 0)
        #expect(!supply.isShort)
        #expect(taken(&supply, of: 1000) { _ in true } == 1000)
    }

    @Test func `calls that were on their way say the same`() {
        var supply = WorkerSupply()
        for _ in 0..<200 { supply.refused() }
        supply.served()
        #expect(!supply.isShort)
        supply.refused()
        #expect(supply.isShort)
    }
}
