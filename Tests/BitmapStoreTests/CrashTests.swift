import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

/// Whatever is lost, a store has the state before a transaction or the one after it.
@Suite struct CrashTests {
    @Test(arguments: 1...6)
    func `a process may be killed, or the power go, at any write`(seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        let twin = try Twin(size: 40_100, shifts: [9, 10, 12])
        var before = try Snapshot.read(twin.disk)
        for step in 0..<RandomTest.events(default: 60) {
            twin.disk.startRecording()
            let operation = twin.anything(&random)
            _ = twin.apply(operation)
            let after = try Snapshot.read(twin.disk)
            #expect(after == twin.model.state, "\(random.replay)")
            let place = "step \(step): \(operation); \(random.replay)"
            for count in 0...twin.disk.events.count {
                let isDone = count == twin.disk.events.count
                let allowed = isDone ? [after] : [before, after]
                let killed = twin.disk.afterKill(before: count)
                let place = "\(place), killed before call \(count)"
                check(killed, is: allowed, place)
                cutPower(killed, is: allowed, place, &random)
                if random.chance(percent: 20) {
                    try goOn(killed, is: allowed, place, &random)
                }
            }
            before = after
        }
    }

    /// All ways to lose power if the pending writes are few, some of them if they are many.
    private func cutPower(
        _ disk: MemoryDisk, is allowed: [Snapshot], _ place: String,
        _ random: inout SeededGenerator
    ) {
        let count = disk.file.pending.count
        if count <= 4 {
            for pattern in 0..<1 << count {
                let cut = disk.afterPowerCut(keeping: pattern)
                check(cut, is: allowed, "\(place), power cut, kept \(pattern)")
            }
        }
        for _ in 0..<4 {
            let chance = Int.random(in: 10...95, using: &random)
            let cut = disk.afterPowerCut(percent: chance, using: &random)
            check(cut, is: allowed, "\(place), power cut, torn")
        }
    }

    /// A second process finds what the first one left in the page cache, goes on from there, and
    /// then the power goes.
    private func goOn(
        _ killed: MemoryDisk, is allowed: [Snapshot], _ place: String,
        _ random: inout SeededGenerator
    ) throws {
        let found = try Snapshot.read(killed)
        let store = try openStore(killed)
        killed.startRecording()
        var isAcknowledged = true
        if random.chance(percent: 50), let bitmap = found.bitmaps.first {
            do { try store.mark(bitmap.name, [0..<700, 20_000..<21_000]) } catch {
                isAcknowledged = false
            }
        } else {
            try store.add("new", granularity: Granularity(bytes: 1024))
        }
        let after = try Snapshot.read(killed)
        for count in 0...killed.events.count {
            let isDone = isAcknowledged && count == killed.events.count
            let second = killed.afterKill(before: count)
            let place = "\(place), then another killed before call \(count)"
            check(second, is: isDone ? [after] : [found, after], place)
            // Until the second one has made sure, the first one's work may still be lost.
            let possible = isDone ? [after] : allowed + [found, after]
            cutPower(second, is: possible, place, &random)
            if random.chance(percent: 20) {
                try goOnOnceMore(second, is: possible, place, &random)
            }
        }
    }

    /// A third process comes to what two have left that died.
    private func goOnOnceMore(
        _ killed: MemoryDisk, is allowed: [Snapshot], _ place: String,
        _ random: inout SeededGenerator
    ) throws {
        let found = try Snapshot.read(killed)
        let store = try openStore(killed)
        killed.startRecording()
        try store.add("third", granularity: Granularity(bytes: 512))
        try store.mark("third", [512..<1024])
        let steps = try (0...killed.events.count).map {
            try Snapshot.read(killed.afterKill(before: $0))
        }
        for count in 0...killed.events.count {
            let third = killed.afterKill(before: count)
            let isDone = count == killed.events.count
            cutPower(
                third, is: isDone ? [steps[count]] : allowed + [found] + steps,
                "\(place), then a third killed before call \(count)", &random)
        }
    }

    private func check(_ disk: MemoryDisk, is allowed: [Snapshot], _ place: String) {
        do {
            let found = try Snapshot.read(disk)
            guard !allowed.contains(found) else { return }
            Issue.record("\(place): neither the state before nor after:\n\(found)")
        } catch {
            Issue.record("\(place): \(error)")
        }
    }

    @Test func `a call that fails leaves the state before it, and the next try works`() throws {
        for failure in 0..<12 {
            for failures in 1...3 {
                let twin = try Twin(size: 40_100, shifts: [9])
                #expect(twin.apply(.add("a", shift: 9, disabled: false)).found == nil)
                #expect(twin.apply(.mark("a", [0..<512])).found == nil)
                let before = try Snapshot.read(twin.disk)
                twin.disk.callsUntilFailure = failure
                twin.disk.failures = failures
                let result: BitmapStoreError?
                do throws(BitmapStoreError) {
                    try twin.store.mark("a", [2048..<4096])
                    result = nil
                } catch { result = error }
                let place = "call \(failure) failed \(failures) times"
                twin.disk.callsUntilFailure = nil
                let after = try Snapshot.read(twin.disk)
                if result != nil, failures == 1 { #expect(after == before, "\(place)") }
                if result == nil { #expect(after != before, "\(place)") }
                #expect(try ModelBits(twin.store.load("a")) == after.bitmaps[0].bits, "\(place)")
                try twin.store.mark("a", [2048..<4096])
                let bits = try twin.store.load("a")
                #expect(bits.dirtyBytes == 2560, "\(place)")
            }
        }
    }

    @Test func `after a checkpoint that failed, the next one is recorded whole`() throws {
        for failure in 0..<12 {
            for failures in 1...4 {
                let twin = try Twin(size: 40_100, shifts: [9])
                _ = twin.apply(.add("a", shift: 9, disabled: false))
                _ = twin.apply(.mark("a", [0..<2048]))
                let job = try twin.store.beginJob(
                    JobRequest(
                        mode: .incremental, bitmap: .stored("a"), source: try twin.store.device(),
                        sourcePath: "s", target: BitmapStoreTests.disk("t", size: 40_100),
                        targetPath: "t"))
                let all = try job.loadRemaining()
                try job.checkpoint(all)
                var some = all.copy()
                some.clear(0..<1024)
                twin.disk.callsUntilFailure = failure
                twin.disk.failures = failures
                try? job.checkpoint(some)
                twin.disk.callsUntilFailure = nil
                // What was thought to be copied was set again.
                try job.checkpoint(all)
                #expect(
                    try job.loadRemaining().isEqual(to: all),
                    "call \(failure) failed \(failures) times")
            }
        }
    }

    @Test
    func `a damaged superblock costs nothing, and is repaired by the next transaction`() throws {
        for slot in 0..<2 {
            let twin = try Twin(size: 40_100, shifts: [9])
            _ = twin.apply(.add("a", shift: 9, disabled: false))
            _ = twin.apply(.mark("a", [0..<512]))
            var content = twin.disk.content
            content[slot * blockBytes + 30] ^= 1
            let disk = MemoryDisk(content: content)
            #expect(try Snapshot.read(disk) == twin.model.state)
            let store = try openStore(disk)
            try store.mark("a", [1024..<1025])
            let again = disk.content
            #expect(again[0..<512] == again[blockBytes..<blockBytes + 512])
            content[(1 - slot) * blockBytes + 30] ^= 1
            #expect(throws: BitmapStoreError.self) {
                try openStore(MemoryDisk(content: content))
            }
        }
    }
}
