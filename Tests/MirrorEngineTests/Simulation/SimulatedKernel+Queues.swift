import MirrorEngine
import Ring

/// The queues that jobs run over, with a decompression driver beside them where one is needed.
extension SimulatedKernel {
    func makeQueue(
        depth: Int, byteCount: Int, decompression: (any DecompressionDriver)?
    ) throws(RingError) -> CompositeQueue<SimulatedQueue> {
        let helpers: [any QueueDriver] = decompression.map { [$0] } ?? []
        let queue = try SimulatedQueue(
            kernel: self, depth: depth + helpers.count, byteCount: byteCount,
            decompression: decompression)
        return CompositeQueue(queue, endpoints: files.map { _ in nil }, helpers: helpers)
    }

    func makeThreads(
        depth: Int, byteCount: Int, decompression: (any DecompressionDriver)?
    ) throws(RingError) -> CompositeQueue<SimulatedThreads> {
        let helpers: [any QueueDriver] = decompression.map { [$0] } ?? []
        let queue = try SimulatedThreads(
            kernel: self, depth: depth + helpers.count, byteCount: byteCount,
            decompression: decompression)
        return CompositeQueue(queue, endpoints: files.map { _ in nil }, helpers: helpers)
    }
}
