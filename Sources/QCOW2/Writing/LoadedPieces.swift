/// Pieces of an image's metadata that are in memory, by their numbers: L2 tables, or blocks of
/// refcounts.
///
/// Whoever reads or changes a piece has loaded it before. A change of one that is not in memory
/// would be lost without a word, and the image would no longer be true: so it ends the program.
struct LoadedPieces<Piece: Sendable>: Sendable {
    private struct Item {
        var piece: Piece
        var lastUse: Int
    }

    private var items: [Int: Item] = [:]
    /// Counts uses, so that a later one has a larger number.
    private var clock = 0

    var count: Int { items.count }
    /// The numbers of all pieces, in ascending order.
    var numbers: [Int] { items.keys.sorted() }

    func contains(_ number: Int) -> Bool { items[number] != nil }

    /// A piece that is in memory.
    ///
    /// Precondition: it is.
    subscript(number: Int) -> Piece {
        get {
            guard let item = items[number] else { Self.stop(number) }
            return item.piece
        }
        // In place: a piece is some 64 KiB, and a copy for each change would cost more than the
        // change.
        _modify {
            guard let index = items.index(forKey: number) else { Self.stop(number) }
            yield &items.values[index].piece
        }
    }

    private static func stop(_ number: Int) -> Never {
        preconditionFailure("\(Piece.self) \(number) is used and not in memory")
    }

    /// Precondition: the piece is not in memory. One that is may have changes.
    mutating func insert(_ piece: Piece, at number: Int) {
        precondition(items[number] == nil, "\(Piece.self) \(number) would be replaced in memory")
        clock += 1
        items[number] = Item(piece: piece, lastUse: clock)
    }

    /// Notes that a piece is used now.
    mutating func touch(_ number: Int) {
        guard let index = items.index(forKey: number) else { Self.stop(number) }
        clock += 1
        items.values[index].lastUse = clock
    }

    /// The numbers of up to `count` idle pieces, those first that were unused longest.
    func leastUsed(_ count: Int, where isIdle: (Int, Piece) -> Bool) -> [Int] {
        let idle = items.filter { isIdle($0.key, $0.value.piece) }
            .sorted { $0.value.lastUse < $1.value.lastUse }
        return idle.prefix(count).map(\.key)
    }

    /// Lets go of pieces. What they have is to be on stable storage, or of no use.
    mutating func remove(_ numbers: [Int]) {
        for number in numbers { items[number] = nil }
    }
}
