import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

@Suite struct ModelTests {
    @Test(
        arguments: [
            (40_100, [9, 10, 12], 1500), (1, [9, 31], 300), (33_000 * 512 + 5, [9, 11], 60),
        ])
    func `a store does what its model does, whatever happens`(size: Int, shifts: [Int], count: Int)
        throws
    {
        var random = RandomTest.generator(defaultSeed: UInt64(size))
        let twin = try Twin(size: size, shifts: shifts)
        for step in 0..<RandomTest.events(default: count) {
            let operation = twin.anything(&random)
            let (expected, found) = twin.apply(operation)
            #expect(expected == found, "step \(step): \(operation); \(random.replay)")
            let state = try Snapshot.read(twin.disk)
            guard state == twin.model.state, expected == found else {
                Issue.record(
                    """
                    step \(step): \(operation); \(random.replay)
                    expected:\n\(twin.model.state)
                    found:\n\(state)
                    """)
                return
            }
            #expect(twin.flaw == nil, "step \(step): \(operation); \(random.replay)")
            if random.chance(percent: 5) { try twin.reopen() }
            try checkViews(twin, "step \(step): \(operation); \(random.replay)")
        }
    }

    /// What reading commands say agrees with the model, and is never less than what a writing
    /// command would find.
    private func checkViews(_ twin: Twin, _ step: String) throws {
        let running = twin.model.running
        for (found, expected) in zip(try twin.store.bitmaps(), twin.model.state.bitmaps) {
            let jobs = twin.model.state.jobs.filter { $0.bitmap == expected.name }
            let isRecorded = twin.model.state.recorded.contains(expected.name)
            let isDead = isRecorded && twin.model.noted[expected.name] == nil
            #expect(found.name == expected.name, "\(step)")
            #expect(found.state == (isDead ? .inconsistent : expected.state), "\(step)")
            #expect(found.dirtyBytes == expected.bits.dirtyBytes, "\(step)")
            #expect(found.dirtyCount == expected.bits.bits.count { $0 }, "\(step)")
            let isBusy = jobs.contains { running.contains($0.id) } || isRecorded && !isDead
            #expect(found.isBusy == isBusy, "\(step)")
            #expect(
                found.isInterrupted == jobs.contains { !running.contains($0.id) }, "\(step)")
            var copy = twin.model
            // Marking nothing recovers the bitmap and does nothing else.
            let refusal = copy.apply(.mark(expected.name, []))
            var bits = ModelBits(size: twin.model.size, shift: expected.bits.shift, all: true)
            if found.state == .disabled {
                bits = expected.bits
                guard jobs.allSatisfy({ running.contains($0.id) || !$0.isOpen }) else { continue }
            } else if refusal == nil {
                bits = copy.state.bitmaps.first { $0.name == expected.name }!.bits
            }
            #expect(ModelBits(try twin.store.load(expected.name)) == bits, "\(step)")
        }
        try checkTargets(twin, step)
        for (found, expected) in zip(try twin.store.jobs(), twin.model.state.jobs) {
            #expect(found.id == expected.id && found.bitmap?.name == expected.bitmap, "\(step)")
            #expect(found.isRunning == running.contains(found.id), "\(step)")
            #expect(found.remainingBytes == expected.remaining.dirtyBytes, "\(step)")
        }
    }

    /// A job to a target would copy all that this lacks, and the witness of one that something else
    /// has written is not the one that it would have now, or that is in doubt.
    private func checkTargets(_ twin: Twin, _ step: String) throws {
        for bitmap in twin.model.state.bitmaps where !twin.model.isInconsistent(bitmap) {
            let targets = try twin.store.targets(of: .stored(bitmap.name))
            for target in targets {
                let name = target.path.string
                let bits = ModelBits(try twin.store.load(bitmap.name, for: target.identity))
                #expect(bits.dirtyBytes == target.lackedBytes, "\(step)")
                let known = [bits] + twin.model.noted(bitmap)
                #expect(
                    twin.truth.difference(name, bitmap.name, outside: known) == nil, "\(step)")
                let isSuspect = twin.suspects.contains([bitmap.name, name])
                if let then = target.witness.first?.modified {
                    let isRight = Int(then) == twin.model.writes[name]!
                    let isInDoubt = target.doubts.contains { $0.kind == .unseen }
                    #expect(
                        isRight == !isSuspect || isRight && isInDoubt,
                        "\(step): \(name) of \(bitmap.name), suspect: \(isSuspect)")
                }
            }
            let names = Set(targets.map(\.path.string))
            #expect(names.isSuperset(of: bitmap.targets.map(\.name)), "\(step)")
        }
    }
}
