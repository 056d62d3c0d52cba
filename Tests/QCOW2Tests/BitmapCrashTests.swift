import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import QCOW2

/// Whatever is lost, an image has the bitmaps from before a change or those from after it; or they
/// are in use, or there are none, where that is what a writer of data has to leave behind.
@Suite struct BitmapCrashTests {
    private static let size: Int64 = 1 << 19

    /// A change, and what besides the states before and after it may be found when it was cut off.
    private struct Step: Sendable {
        let name: String
        var mayHaveNone = false
        let body: @Sendable (ImageBitmaps) throws -> Void
    }

    private static let steps: [Step] = [
        Step(name: "add the first") { try $0.add("a", granularity: .min) },
        Step(name: "mark") {
            try $0.merge(into: "a", bits: BitmapRig.bits(size, 9, [0..<size / 2]))
        },
        Step(name: "several at once") { bitmaps in
            try bitmaps.change { transaction throws(StorageError) in
                try transaction.add("b", granularity: .min, disabled: true)
                try transaction.merge(into: "b", from: ["a"])
                try transaction.clear("a")
            }
        },
        Step(name: "begin to write", mayHaveNone: true) { try $0.markInUse() },
        Step(name: "end to write") {
            try $0.store(changed: BitmapRig.bits(size, 9, [4096..<8192, size - 1..<size]))
        },
        Step(name: "flags") { try $0.setRecording("b", true) },
        Step(name: "begin again", mayHaveNone: true) { try $0.markInUse() },
        Step(name: "end again") { try $0.store(changed: BitmapRig.bits(size, 16, [])) },
        Step(name: "copied") { try $0.subtract("b", BitmapRig.bits(size, 12, [0..<65536])) },
        Step(name: "merge") { try $0.merge(into: "b", from: ["a"]) },
        Step(name: "remove one") { try $0.remove("a") },
        Step(name: "remove the last") { try $0.remove("b") },
        Step(name: "add with marks") {
            try $0.add("c", bits: BitmapRig.bits(size, 9, [512..<1024, size / 2..<size]))
        },
        Step(name: "all") { try $0.removeAll() },
    ]

    @Test(arguments: [9, 10, 12])
    func `a process may be killed, or the power go, at any write`(clusterBits: Int) throws {
        var random = RandomTest.generator(defaultSeed: UInt64(clusterBits))
        let file = try BitmapRig.image(clusterBits: clusterBits, size: Self.size)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        var before = try BitmapRig.states(file)
        var images = 0
        for step in Self.steps {
            file.startRecording()
            try step.body(bitmaps)
            let after = try BitmapRig.states(file)
            #expect(after != before || step.name.hasPrefix("merge"), "\(step.name)")
            #expect(try BitmapAudit(file).leaks == [], "\(step.name)")
            for count in 0...file.events.count {
                let isDone = count == file.events.count
                let allowed = isDone ? [after] : [before, after] + (step.mayHaveNone ? [[:]] : [])
                let killed = file.afterKill(before: count)
                let place = "\(step.name), before call \(count), \(random.replay)"
                check(killed, allowed, place)
                for cut in powerCuts(killed, &random) {
                    check(cut, allowed, "\(place), power cut")
                    images += 1
                }
            }
            before = after
        }
        #expect(images > 500)
    }

    /// All ways to lose power if the pending writes are few, some of them if they are many; each
    /// also with torn writes.
    private func powerCuts(
        _ image: MemoryImage, _ random: inout SeededGenerator
    ) -> [MemoryImage] {
        let count = image.file.pending.count
        var cuts: [MemoryImage] = []
        if count <= 4 {
            for pattern in 0..<1 << count { cuts.append(image.afterPowerCut(keeping: pattern)) }
        }
        for _ in 0..<4 {
            let chance = Int.random(in: 10...95, using: &random)
            cuts.append(image.afterPowerCut(percent: chance, using: &random))
        }
        return cuts
    }

    private func check(_ file: MemoryImage, _ allowed: [BitmapRig.States], _ place: String) {
        do {
            let found = try BitmapRig.states(file)
            if !allowed.contains(found) {
                Issue.record("\(place): \(found) is none of \(allowed)")
            }
            let lost = try BitmapAudit(file).lost
            if !lost.isEmpty { Issue.record("\(place): clusters \(lost) are used and not counted") }
        } catch {
            Issue.record("\(place): \(error)")
        }
    }

    @Test(arguments: [9, 12])
    func `half a directory is seen by nobody, however long it is`(clusterBits: Int) throws {
        var random = RandomTest.generator(defaultSeed: 7)
        let file = try BitmapRig.image(clusterBits: clusterBits, size: Self.size)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        try bitmaps.change { transaction throws(StorageError) in
            for index in 0..<40 { try transaction.add("a bitmap with the number \(index)") }
        }
        let before = try BitmapRig.states(file)
        file.startRecording()
        try bitmaps.markInUse()
        let after = try BitmapRig.states(file)
        for count in 0...file.events.count {
            let isDone = count == file.events.count
            let allowed = isDone ? [after] : [before, after, [:]]
            let killed = file.afterKill(before: count)
            check(killed, allowed, "before call \(count)")
            for _ in 0..<8 {
                for cut in powerCuts(killed, &random) {
                    check(cut, allowed, "before call \(count), power cut, \(random.replay)")
                }
            }
        }
    }

    @Test func `a call that fails leaves a valid image, and the next try works`() throws {
        for step in Self.steps.indices {
            for failure in 0..<40 {
                let file = try BitmapRig.image(clusterBits: 9, size: Self.size)
                let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
                for earlier in Self.steps.prefix(step) { try earlier.body(bitmaps) }
                let before = try BitmapRig.states(file)
                file.callsUntilFailure = failure
                let hasFailed: Bool
                do {
                    try Self.steps[step].body(bitmaps)
                    hasFailed = false
                } catch { hasFailed = true }
                file.callsUntilFailure = nil
                let place = "\(Self.steps[step].name), call \(failure)"
                let found = try BitmapRig.states(file)
                #expect(try BitmapAudit(file).lost == [], "\(place)")
                guard hasFailed else { break }
                let isExpected =
                    found == before || Self.steps[step].mayHaveNone && found.isEmpty
                    || isDone(step, found)
                #expect(isExpected, "\(place): \(found)")
                guard found == before else { continue }
                try Self.steps[step].body(ImageBitmapsRetry.of(bitmaps, file, step: step))
            }
        }
    }

    /// Whether these are the bitmaps after a step; a failure to free what is old comes after it.
    private func isDone(_ step: Int, _ found: BitmapRig.States) -> Bool {
        guard let file = try? BitmapRig.image(clusterBits: 9, size: Self.size),
            let writer = try? BitmapRig.Writer(file)
        else { return false }
        let bitmaps = ImageBitmaps(writer)
        for earlier in Self.steps.prefix(step + 1) { try? earlier.body(bitmaps) }
        return (try? BitmapRig.states(file)) == found
    }

    /// The end of a recording is tried again by the object that began it, all else by anybody.
    private enum ImageBitmapsRetry {
        static func of(
            _ bitmaps: ImageBitmaps, _ file: MemoryImage, step: Int
        ) throws -> ImageBitmaps {
            steps[step].name.hasPrefix("end")
                ? bitmaps : ImageBitmaps(try BitmapRig.Writer(file))
        }
    }
}
