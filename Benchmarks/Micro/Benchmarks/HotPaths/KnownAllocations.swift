import Benchmark
import Glibc

/// Allocates 1200 times, in every way that the counter has to notice.
struct KnownAllocations: HotPath {
    private final class Object {}

    mutating func run() {
        for _ in 0..<200 {
            blackHole(Object())
            var memory = malloc(100)
            blackHole(memory)
            memory = realloc(memory, 1000)
            blackHole(memory)
            free(memory)
            memory = calloc(10, 10)
            blackHole(memory)
            free(memory)
            memory = aligned_alloc(64, 128)
            blackHole(memory)
            free(memory)
            // Swift's own way to memory of a large alignment.
            let aligned = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 64)
            blackHole(aligned)
            aligned.deallocate()
        }
    }
}
