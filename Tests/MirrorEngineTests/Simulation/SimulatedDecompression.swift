import Glibc
import MirrorEngine
import Ring
import TestSupport

/// Decompresses at moments of a seed's choice, as threads would: the queue of the same worker lets
/// it do something whenever the worker waits.
///
/// One thread uses it, the worker's.
final class SimulatedDecompression: DecompressionDriver, @unchecked Sendable {
    private let kernel: SimulatedKernel
    private var random: SeededGenerator
    private var pending: [DecompressionTask] = []
    private var ended: [Completion] = []
    private var scratch = ScratchMemory()
    /// Something has ended since this was last answered.
    private(set) var isReadable = false

    init(_ kernel: SimulatedKernel) {
        self.kernel = kernel
        random = SeededGenerator(seed: kernel.behaviour.seed ^ 0x0DD5)
    }

    /// Nobody opens it; the queue knows it by its place behind all files.
    var descriptor: CInt { 999 }

    var isBusy: Bool { !pending.isEmpty }

    /// Memory that nobody else may touch.
    var memory: [Range<Int>] { pending.flatMap { [$0.compressed, $0.output] } }

    func start(_ task: DecompressionTask) {
        kernel.expect(
            !memory.contains { $0.overlaps(task.output) || $0.overlaps(task.compressed) },
            "two decompressions share memory")
        // Whoever looks before the end sees this.
        task.slab.withMutableBytes(task.output) { span in
            span.withUnsafeMutableBytes { _ = memset($0.baseAddress!, 0xDD, $0.count) }
        }
        pending.append(task)
    }

    var inFlight: Int { pending.count + ended.count }

    func service() {
        kernel.expect(isReadable, "a decompression driver was serviced that has nothing to tell")
        isReadable = false
    }

    func nextCompletion() -> Completion? {
        // A thread may end something just now, and ring when nobody waits for it any more.
        if ended.isEmpty && kernel.behaviour.isShuffling && random.chance(percent: 30) { work() }
        return ended.popLast()
    }

    func forsake() {
        pending.removeAll()
        ended.removeAll()
    }

    /// Lets time pass.
    func advance() {
        guard kernel.behaviour.isShuffling else {
            while isBusy { work() }
            return
        }
        while isBusy && random.chance(percent: 40) { work() }
    }

    /// Ends something, if there is anything.
    func work() {
        guard !pending.isEmpty else { return }
        let index = Int.random(in: 0..<pending.count, using: &random)
        let task = pending.remove(at: index)
        let isGood = task.carryOut(by: RunLengthCode(), &scratch)
        ended.append(DecompressionTask.completion(of: task.number, isGood: isGood))
        isReadable = true
    }
}
