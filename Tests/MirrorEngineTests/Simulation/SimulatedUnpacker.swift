import Glibc
import MirrorEngine
import Ring
import TestSupport

/// Decompresses at moments of a seed's choice, as threads would: the queue of the same worker lets
/// it do something whenever the worker waits.
///
/// One thread uses it, the worker's.
final class SimulatedUnpacker: Unpacker, @unchecked Sendable {
    private let kernel: SimulatedKernel
    private var random: SeededGenerator
    private var pending: [UnpackTask] = []
    private var ended: [(number: Int, isGood: Bool)] = []
    private var scratch = Scratch()
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
    var memory: [Range<Int>] { pending.flatMap { [$0.packed, $0.output] } }

    func start(_ task: UnpackTask) {
        kernel.expect(
            !memory.contains { $0.overlaps(task.output) || $0.overlaps(task.packed) },
            "two decompressions share memory")
        // Whoever looks before the end sees this.
        task.slab.withMutableBytes(task.output) { span in
            span.withUnsafeMutableBytes { _ = memset($0.baseAddress!, 0xDD, $0.count) }
        }
        pending.append(task)
    }

    func acknowledge() { isReadable = false }

    func nextEnd() -> (number: Int, isGood: Bool)? {
        // A thread may end something just now, and ring when nobody waits for it any more.
        if ended.isEmpty && kernel.behaviour.isShuffling && random.chance(percent: 30) { work() }
        return ended.popLast()
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
        ended.append((task.number, task.carryOut(by: RunLengthCode(), &scratch)))
        isReadable = true
    }
}
