import BlockStorage
import TestSupport

/// Random disks for `Scenario`: raw ones, ones that lie about in pieces, and images that allocate.
enum ScenarioDisks {
    static func source(
        _ bytes: [UInt8], _ holes: [Range<Int>], _ random: inout SeededGenerator
    ) -> SimulatedMap {
        let alignment = [512, 512, 4096, 1].randomElement(using: &random)!
        if random.chance(percent: 40) || bytes.isEmpty {
            let disk = SimulatedDisk(bytes, holes: holes)
            return SimulatedMap(raw: disk, alignment: alignment, isTarget: false)
        }
        return scattered(
            bytes.zeroing(holes), diskCount: Int.random(in: 1...3, using: &random), alignment,
            isTarget: false, &random)
    }

    static func target(
        _ size: Int, _ spare: Int, isZero: Bool, seed: UInt64, _ random: inout SeededGenerator
    ) -> any SimulatedTarget {
        let alignment = [512, 512, 4096, 1].randomElement(using: &random)!
        let bytes =
            isZero
            ? [UInt8](repeating: 0, count: size + spare)
            : [UInt8].pattern(size + spare, seed: ~seed)
        if size > 0 && spare == 0 && random.chance(percent: 45) {
            return image(bytes, isZero: isZero, seed: seed, alignment, &random)
        }
        if random.chance(percent: 60) || size == 0 || spare > 0 {
            let holes = isZero ? [0..<(size + spare)] : Scenario.stretches(size, &random)
            let disk = SimulatedDisk(bytes, holes: holes)
            return SimulatedMap(
                raw: disk, size: Int64(size), alignment: alignment, isTarget: true,
                startsZero: isZero && random.chance(percent: 30))
        }
        return scattered(bytes, diskCount: 1, alignment, isTarget: true, &random)
    }

    private static func image(
        _ bytes: [UInt8], isZero: Bool, seed: UInt64, _ alignment: Int,
        _ random: inout SeededGenerator
    ) -> SimulatedImage {
        let clusterSize = 4096 << Int.random(in: 0...5, using: &random)
        let count = (bytes.count + clusterSize - 1) / clusterSize
        let entries = (0..<count).map { _ -> SimulatedImage.Entry in
            if isZero { return random.chance(percent: 50) ? .old : .zero }
            return [.old, .zero, .data(0)].randomElement(using: &random)!
        }
        return SimulatedImage(
            old: bytes, own: [UInt8].pattern(bytes.count, seed: seed &* 3), entries: entries,
            clusterSize: clusterSize, alignment: alignment,
            knowsZeros: random.chance(percent: 80), startsZero: isZero)
    }

    /// Pieces in random order, each followed by what must never be read as the guest's or written.
    /// Those of a source are stored, compressed, or nowhere because they are zero.
    static func scattered(
        _ bytes: [UInt8], diskCount: Int, _ alignment: Int, isTarget: Bool,
        _ random: inout SeededGenerator
    ) -> SimulatedMap {
        let pieceSize = [4096, 16 << 10, 64 << 10].randomElement(using: &random)!
        let count = (bytes.count + pieceSize - 1) / pieceSize
        let order = Array(0..<count).shuffled(using: &random)
        let compressedPercent = isTarget ? 0 : [0, 30, 90].randomElement(using: &random)!
        let zeroPercent = isTarget ? 0 : [0, 30].randomElement(using: &random)!
        var images = Array(repeating: [UInt8](), count: diskCount)
        var places = Array(repeating: SimulatedMap.Place(disk: 0, offset: 0), count: count)
        for piece in order {
            let disk = Int.random(in: 0..<diskCount, using: &random)
            let data = bytes[(piece * pieceSize)..<min((piece + 1) * pieceSize, bytes.count)]
            if random.chance(percent: zeroPercent) {
                places[piece] = .init(disk: disk, offset: 0, form: .zero)
            } else if random.chance(percent: compressedPercent) {
                places[piece] = compress(data, disk, &images[disk], &random)
            } else {
                images[disk] += filler((4096 - images[disk].count % 4096) % 4096)
                places[piece] = .init(disk: disk, offset: Int64(images[disk].count))
                images[disk] += data + filler(pieceSize - data.count)
            }
        }
        let disks = images.map { image in
            // What happens to be zero may be known to be.
            let holes = (0..<(image.count / 4096)).map { $0 * 4096..<($0 + 1) * 4096 }
                .filter { image[$0].allSatisfy { $0 == 0 } && random.chance(percent: 80) }
            return SimulatedDisk(image, holes: holes)
        }
        var map = SimulatedMap(
            scattered: disks, size: Int64(bytes.count), pieceSize: Int64(pieceSize),
            places: places, alignment: alignment, isTarget: isTarget)
        map.cutsExtents = random.chance(percent: 30)
        map.hidesZeros = random.chance(percent: 50)
        map.unit = random.chance(percent: 70) ? Int64(pieceSize) : 1
        return map
    }

    /// Puts a piece anywhere, and promises no more than that it ends before something.
    private static func compress(
        _ data: ArraySlice<UInt8>, _ disk: Int, _ image: inout [UInt8],
        _ random: inout SeededGenerator
    ) -> SimulatedMap.Place {
        image += filler(Int.random(in: 0..<700, using: &random))
        let offset = image.count
        let compressed = RunLengthCode.compress(data)
        image += compressed
        let slack = Int.random(in: 0..<700, using: &random)
        return .init(disk: disk, offset: Int64(offset), form: .compressed(compressed.count + slack))
    }

    private static func filler(_ count: Int) -> [UInt8] { [UInt8](repeating: 0xEE, count: count) }
}
