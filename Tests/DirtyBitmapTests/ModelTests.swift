import DirtyBitmap
import TestSupport
import Testing

/// Random operations on the bitmap and on a naive twin, which must agree after each one.
@Suite struct ModelTests {
    @Test(arguments: Shape.small)
    func `a bitmap agrees with its twin`(shape: Shape) throws {
        try run(shape, events: RandomTest.events(default: 200))
    }

    @Test(arguments: Shape.huge)
    func `a huge and sparse bitmap agrees with its twin`(shape: Shape) throws {
        try run(shape, events: RandomTest.events(default: 25))
    }

    private func run(_ shape: Shape, events: Int) throws {
        // The shape is mixed in, or all shapes would see the same operations.
        let seed = RandomTest.seed(default: 0x5EED_0B17)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<(shape.granularity.shift &+ Int(shape.size % 97)) { _ = random.next() }
        var pair = Pair(shape)
        for event in 0..<events {
            let name = try pair.change(using: &random)
            let place: Comment = "event \(event) (\(name)) on \(shape): \(random.replay)"
            pair.compare(place)
            pair.compareQueries(using: &random, place)
            guard pair.agrees else { return }
        }
    }
}

/// A bitmap and its twin.
private struct Pair: ~Copyable {
    let shape: Shape
    var bitmap: DirtyBitmap
    var twin: NaiveBitmap
    var agrees = true

    init(_ shape: Shape) {
        self.shape = shape
        bitmap = DirtyBitmap(size: shape.size, granularity: shape.granularity)
        twin = NaiveBitmap(size: shape.size, granularity: shape.granularity.bytes)
    }

    var all: Range<Int64> { 0..<shape.size }

    /// Does one random operation to both; returns its name.
    mutating func change(using random: inout SeededGenerator) throws -> String {
        let range = random.range(in: shape)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<30:
            bitmap.set(range)
            twin.set(range)
            return "set \(range)"
        case 30..<50:
            bitmap.clear(range)
            twin.clear(range)
            return "clear \(range)"
        case 50..<70:
            return take(using: &random)
        case 70..<74 where !shape.isHuge:
            bitmap.setAll()
            twin.setAll()
            return "setAll"
        case 74..<78 where !shape.isHuge:
            bitmap.invert()
            twin.invert()
            return "invert"
        case 78..<80:
            bitmap.clearAll()
            twin.dirty = []
            return "clearAll"
        case 80..<88:
            return try combine(merging: true, using: &random)
        case 88..<94:
            return try combine(merging: false, using: &random)
        default:
            return try reload(using: &random)
        }
    }

    private mutating func take(using random: inout SeededGenerator) -> String {
        let from = random.offset(in: shape)
        let limit = random.limit(in: shape)
        let run = bitmap.takeDirtyRun(from: from, limit: limit)
        let expected = twin.nextDirtyRun(from: from, limit: limit)
        if let expected { twin.clear(expected) }
        check(run == expected, "take from \(from) limit \(limit): \(run as Any)")
        return "take from \(from) limit \(limit)"
    }

    /// Merges or subtracts a random bitmap, of the same granularity or of another.
    private mutating func combine(
        merging: Bool, using random: inout SeededGenerator
    ) throws -> String {
        let near = Shape.granularities.filter {
            shape.size / $0.bytes <= 8192 || $0 >= shape.granularity
        }
        let granularity = near.randomElement(using: &random)!
        let otherShape = Shape(size: shape.size, granularity: granularity)
        var other = DirtyBitmap(size: shape.size, granularity: granularity)
        var otherTwin = NaiveBitmap(size: shape.size, granularity: granularity.bytes)
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            // Ranges of the finer of the two would hardly ever cover a granule of the coarser.
            let range = random.range(in: random.chance(percent: 50) ? shape : otherShape)
            guard range.count / Int(granularity.bytes) <= 10000 else { continue }
            other.set(range)
            otherTwin.set(range)
        }
        if shape.isHuge, granularity.bytes / shape.granularity.bytes > 64 {
            return "nothing: the twin couldn't hold it"
        }
        if merging {
            try bitmap.merge(other)
            twin.merge(otherTwin)
            return "merge \(granularity) \(otherTwin.dirty.sorted())"
        }
        try bitmap.subtract(other)
        twin.subtract(otherTwin)
        return "subtract \(granularity) \(otherTwin.dirty.sorted())"
    }

    /// Replaces the bitmap by what its stored form gives back, whole or in pages.
    private mutating func reload(using random: inout SeededGenerator) throws -> String {
        if shape.isHuge || random.chance(percent: 50) {
            var copy = DirtyBitmap(size: shape.size, granularity: shape.granularity)
            // Pages of up to 7 words cross nothing in step with anything.
            let pageWords = shape.isHuge ? 65536 : Int.random(in: 1...7, using: &random)
            for first in stride(from: 0, to: bitmap.wordCount, by: pageWords) {
                var page: [UInt8] = []
                bitmap.serialize(
                    words: first..<min(first + pageWords, bitmap.wordCount), into: &page)
                try copy.load(words: page, at: first)
            }
            bitmap = copy
            return "reload in pages of \(pageWords)"
        }
        bitmap = try DirtyBitmap(
            size: shape.size, granularity: shape.granularity,
            littleEndianWords: bitmap.serialized())
        return "reload"
    }

    /// Compares every bit, through both ways to see them all.
    mutating func compare(_ place: Comment) {
        bitmap.checkInvariants()
        check(bitmap.dirtyGranules() == twin.dirty.sorted(), "forEachWord; \(place)")
        check(bitmap.runs() == twin.runs(in: all), "forEachDirtyRun; \(place)")
        check(bitmap.dirtyCount == twin.dirty.count, "dirtyCount; \(place)")
        check(bitmap.dirtyBytes == twin.dirtyBytes, "dirtyBytes; \(place)")
        check(bitmap.isClean == twin.dirty.isEmpty, "isClean; \(place)")
    }

    /// Compares all queries at random places.
    mutating func compareQueries(using random: inout SeededGenerator, _ place: Comment) {
        for _ in 0..<4 {
            let range = random.range(in: shape)
            check(
                bitmap.containsDirty(in: range) == twin.containsDirty(in: range),
                "containsDirty \(range); \(place)")
            check(
                bitmap.isFullyDirty(in: range) == twin.isFullyDirty(in: range),
                "isFullyDirty \(range); \(place)")
            check(
                bitmap.dirtyCount(in: range) == twin.dirtyCount(in: range),
                "dirtyCount \(range); \(place)")
            check(
                bitmap.dirtyBytes(in: range) == twin.dirtyBytes(in: range),
                "dirtyBytes \(range); \(place)")
            check(
                bitmap.runs(in: range) == twin.runs(in: range), "runs in \(range); \(place)")

            let offset = random.offset(in: shape)
            let limit = random.limit(in: shape)
            if offset < shape.size {
                check(
                    bitmap.isDirty(at: offset) == twin.isDirty(at: offset),
                    "isDirty \(offset); \(place)")
            }
            check(
                bitmap.nextDirty(from: offset) == twin.nextDirty(from: offset),
                "nextDirty \(offset); \(place)")
            check(
                bitmap.nextClean(from: offset) == twin.nextClean(from: offset),
                "nextClean \(offset); \(place)")
            check(
                bitmap.nextDirtyRun(from: offset, limit: limit)
                    == twin.nextDirtyRun(from: offset, limit: limit),
                "nextDirtyRun \(offset) limit \(limit); \(place)")
        }
    }

    private mutating func check(_ holds: Bool, _ what: Comment) {
        if !holds { agrees = false }
        #expect(holds, what)
    }
}
