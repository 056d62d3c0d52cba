import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

/// Calls that fail, processes that are killed and power cuts, one after the other in any order.
@Suite struct FailingDiskTests {
    /// Something that takes neither a job nor a recorder, so that any process can do it.
    private enum Change: CustomStringConvertible {
        case add(String)
        case remove(String)
        case clear(String)
        case mark(String, Range<Int64>)
        case merge(String, String)

        static func random(_ random: inout SeededGenerator, size: Int64) -> Change {
            let names = ["a", "b", "c"]
            let name = names.randomElement(using: &random)!
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3: return .add(name)
            case 3: return .remove(name)
            case 4: return .clear(name)
            case 5: return .merge(name, names.randomElement(using: &random)!)
            default:
                let start = Int64.random(in: 0..<size, using: &random)
                let end = min(size, start + Int64.random(in: 1...3000, using: &random))
                return .mark(name, start..<end)
            }
        }

        func apply(to store: BitmapStore) throws(BitmapStoreError) {
            switch self {
            case .add(let name): try store.add(name, granularity: .min)
            case .remove(let name): try store.remove(name)
            case .clear(let name): try store.clear(name)
            case .mark(let name, let range): try store.mark(name, [range])
            case .merge(let name, let other): try store.merge(into: name, from: [other])
            }
        }

        var description: String {
            switch self {
            case .add(let name): "add \(name)"
            case .remove(let name): "remove \(name)"
            case .clear(let name): "clear \(name)"
            case .mark(let name, let range): "mark \(name) \(range)"
            case .merge(let name, let other): "merge \(other) into \(name)"
            }
        }
    }

    /// A disk over which processes come and go.
    private struct World {
        var disk: MemoryDisk
        /// Of the process that lives.
        var store: BitmapStore
        /// What the file may be after a power cut; one, if that was acknowledged.
        var possible: [Snapshot]

        init(size: Int) throws {
            (disk, store) = try makeStore(BitmapStoreTests.disk("source", size: size))
            possible = [Snapshot()]
        }

        mutating func goOn(_ disk: MemoryDisk) throws(BitmapStoreError) {
            self.disk = disk
            store = try openStore(disk)
        }
    }

    @Test(arguments: 1...8)
    func `whatever fails, a store has a state that it may have`(seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        var world = try World(size: 40_100)
        var failedSyncs: UInt64 = 0
        for step in 0..<RandomTest.events(default: 150) {
            let change = Change.random(&random, size: 40_100)
            let place = "step \(step): \(change); \(random.replay)"
            let before = try Snapshot.read(world.disk)
            let earlier = world.possible
            let after = try state(after: change, world.disk)
            world.disk.startRecording()
            if random.chance(percent: 35) {
                world.disk.callsUntilFailure = Int.random(in: 0...8, using: &random)
                world.disk.failures = Int.random(in: 1...5, using: &random)
                world.disk.failure = .ioError
            }
            let isDone = done(change, world.store)
            world.disk.callsUntilFailure = nil
            failedSyncs += world.disk.failedSyncs
            if isDone == true { world.possible = [after] } else { world.possible.append(after) }
            check(world.disk, is: isDone == true ? [after] : [before, after], place)
            #expect(earlier.contains(before), "\(place)")
            for _ in 0..<4 { cutPower(world.disk, is: world.possible, place, &random) }
            try goOn(&world, ifKilled: earlier + [before, after], place, &random)
        }
        #expect(failedSyncs > 0 || RandomTest.events(default: 150) < 150, "\(random.replay)")
    }

    /// - Returns: whether it was acknowledged; nil: there was nothing to do, and it was refused.
    private func done(_ change: Change, _ store: BitmapStore) -> Bool? {
        do throws(BitmapStoreError) {
            try change.apply(to: store)
            return true
        } catch {
            if case .systemCall = error { return false }
            return nil
        }
    }

    /// What the file would have if all went well.
    private func state(after change: Change, _ disk: MemoryDisk) throws -> Snapshot {
        let copy = MemoryDisk(content: disk.content)
        _ = done(change, try openStore(copy))
        return try Snapshot.read(copy)
    }

    /// The process may end in order, be killed at any call, or lose its power.
    private func goOn(
        _ world: inout World, ifKilled possible: [Snapshot], _ place: String,
        _ random: inout SeededGenerator
    ) throws {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<2: world.store = try openStore(world.disk)
        case 2..<5:
            let count = Int.random(in: 0...world.disk.events.count, using: &random)
            guard count < world.disk.events.count else { return }
            let killed = world.disk.afterKill(before: count)
            let place = "\(place), killed before call \(count)"
            check(killed, is: possible.suffix(2), place)
            world.possible = possible
            for _ in 0..<4 { cutPower(killed, is: world.possible, place, &random) }
            try world.goOn(killed)
        case 5:
            let cut = afterPowerCut(world.disk, &random)
            try world.goOn(cut)
            world.possible = [try Snapshot.read(cut)]
        default: break
        }
    }

    private func afterPowerCut(
        _ disk: MemoryDisk, _ random: inout SeededGenerator
    ) -> MemoryDisk {
        let chance = Int.random(in: 10...95, using: &random)
        return disk.afterPowerCut(percent: chance, using: &random)
    }

    private func cutPower(
        _ disk: MemoryDisk, is allowed: [Snapshot], _ place: String,
        _ random: inout SeededGenerator
    ) {
        check(afterPowerCut(disk, &random), is: allowed, "\(place), power cut")
    }

    private func check(
        _ disk: MemoryDisk, is allowed: some Sequence<Snapshot>, _ place: String
    ) {
        do {
            let found = try Snapshot.read(disk)
            guard !allowed.contains(found) else { return }
            Issue.record("\(place): not a state that it may have:\n\(found)")
        } catch {
            Issue.record("\(place): \(error)")
        }
    }
}
