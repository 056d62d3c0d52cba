import Benchmark
import DirtyBitmap

let benchmarks: @Sendable () -> Void = {
    // The other counts are worth nothing if this one is wrong.
    measure("allocation counter: 1200 allocations", .one, Cost(allocations: 1200)) {
        KnownAllocations()
    }

    measure("bitmap: find nothing in 1 TiB") { BitmapSearch() }
    measure("bitmap: visit 16384 runs in 1 TiB") { BitmapVisit() }
    measure("bitmap: set 1 MiB", .kilo) { BitmapSet() }
    measure("bitmap: merge 1 TiB") { try BitmapMerge(granularity: .default) }
    measure("bitmap: merge 1 TiB of another granularity") {
        try BitmapMerge(granularity: Granularity(bytes: 1 << 20))
    }
    measure("atomic bitmap: set 1 MiB", .kilo) { try AtomicSet() }
    measure("atomic bitmap: drain 1000 marks in 1 TiB") { try AtomicDrain() }

    measure("zero scan: 512 KiB") { try ZeroScan() }

    measure("dispenser: a run of 512 KiB out of many", .kilo) {
        try Dispensing(granule: 512 << 10, gap: 0)
    }
    measure("dispenser: a run of 64 KiB alone", .kilo) {
        try Dispensing(granule: 64 << 10, gap: 1)
    }

    measure("transfer queue: a request over a queue that does nothing", .kilo) {
        try Transferring()
    }
    // 8 batches of 125.
    measure("ring: a nop in a batch of 125", .kilo, Cost(systemCalls: 8)) { try RingNops() }
}
