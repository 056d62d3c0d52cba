import MirrorEngine
import Ring

/// The queues that jobs run over, with an unpacker beside them where one is needed.
extension SimulatedKernel {
    func makeQueue(
        depth: Int, byteCount: Int, unpacker: (any Unpacker)?
    ) throws(RingError) -> CompositeQueue<SimulatedQueue> {
        let helpers: [any QueueDriver] = unpacker.map { [$0] } ?? []
        let queue = try SimulatedQueue(
            kernel: self, depth: depth + helpers.count, byteCount: byteCount, unpacker: unpacker)
        return CompositeQueue(queue, endpoints: files.map { _ in nil }, helpers: helpers)
    }

    func makeThreads(
        depth: Int, byteCount: Int, unpacker: (any Unpacker)?
    ) throws(RingError) -> CompositeQueue<SimulatedThreads> {
        let helpers: [any QueueDriver] = unpacker.map { [$0] } ?? []
        let queue = try SimulatedThreads(
            kernel: self, depth: depth + helpers.count, byteCount: byteCount, unpacker: unpacker)
        return CompositeQueue(queue, endpoints: files.map { _ in nil }, helpers: helpers)
    }
}
