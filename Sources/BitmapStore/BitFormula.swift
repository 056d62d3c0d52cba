internal import DirtyBitmap

/// Stored bitmaps that are to be combined: from the first one others are taken away or added to
/// it, in order.
///
/// What nobody has touched since it was copied is the same block everywhere, and most of the rest
/// is all clean or all dirty. References alone say what comes out there, for whole tables as for
/// single pages; only where they don't, pages are read.
struct BitFormula {
    /// The one that is changed, then those of the operations.
    private(set) var trees: [BitTree]
    private(set) var operations: [BitOperation] = []

    init(_ first: BitTree) { trees = [first] }

    var first: BitTree { trees[0] }
    var layout: BitLayout { first.layout }

    /// Whether it can be worked out page by page.
    var hasOneLayout: Bool { trees.allSatisfy { $0.layout == layout } }

    /// Adds dirty bits, rounding outward.
    mutating func merge(_ tree: BitTree) {
        operations.append(BitOperation(kind: .merge, operand: add(tree, like: layout)))
    }

    /// Takes dirty bits away, rounding inward.
    ///
    /// - Parameter exception: stays: what of it is in `tree` is not taken away.
    mutating func subtract(_ tree: BitTree, except exception: BitTree? = nil) {
        let operand = add(tree, like: layout)
        let kept = exception.map { add($0, like: trees[operand].layout) }
        operations.append(BitOperation(kind: .subtract, operand: operand, exception: kept))
    }

    /// - Returns: where it is in `trees`.
    private mutating func add(_ tree: BitTree, like layout: BitLayout) -> Int {
        // Nothing and everything are the same at any granularity.
        if tree.tables.allSatisfy({ $0 == .clean }) {
            trees.append(.clean(layout))
        } else if tree.tables.allSatisfy({ $0 == .dirty }) {
            trees.append(.dirty(layout))
        } else {
            trees.append(tree)
        }
        return trees.count - 1
    }

    /// - Parameter reference: to a table or page, by the index of its tree.
    /// - Returns: what all of it comes to; nil if what is behind the references must be looked at.
    func resolve(_ reference: (Int) -> Reference) -> Reference? {
        var result: Reference? = reference(0)
        for operation in operations { result = operation.resolve(result, reference) }
        return result
    }
}

/// A step of a formula: how two bitmaps become one.
struct BitOperation {
    enum Kind { case merge, subtract }

    let kind: Kind
    /// Where in the formula's trees the right side is.
    let operand: Int
    /// Where that is which is left out of the right side; nil: nothing is.
    var exception: Int?

    /// - Parameters:
    ///   - left: nil if no reference stands for it.
    ///   - reference: see `BitFormula.resolve`.
    /// - Returns: nil if it depends on what is behind the references.
    func resolve(_ left: Reference?, _ reference: (Int) -> Reference) -> Reference? {
        guard let exception else { return kind.resolve(left, reference(operand)) }
        return kind.resolve(left, Kind.subtract.resolve(reference(operand), reference(exception)))
    }
}

extension BitOperation.Kind {
    /// - Parameter left: nil if no reference stands for it; `right` likewise.
    func resolve(_ left: Reference?, _ right: Reference?) -> Reference? {
        if right == .clean { return left }
        switch self {
        case .merge:
            if right == .dirty || left == .dirty { return .dirty }
            guard let left, let right else { return nil }
            return left == .clean || left == right ? right : nil
        case .subtract:
            if right == .dirty || left == .clean { return .clean }
            guard let left, let right else { return nil }
            return left == right ? .clean : nil
        }
    }

    /// All bitmaps of a store have one size, so that combining them can't fail.
    func apply(
        _ right: borrowing DirtyBitmap, to left: inout DirtyBitmap
    ) throws(BitmapStoreError) {
        do throws(DirtyBitmapError) {
            switch self {
            case .merge: try left.merge(right)
            case .subtract: try left.subtract(right)
            }
        } catch {
            throw .bits(error)
        }
    }

    /// The right side of an operation: all of `bits` but what `exception` has a part of.
    static func leavingOut(
        _ exception: borrowing DirtyBitmap, of bits: consuming DirtyBitmap
    ) throws(BitmapStoreError) -> DirtyBitmap {
        var bits = bits
        if exception.granularity == bits.granularity {
            try subtract.apply(exception, to: &bits)
        } else {
            // Merging rounds outward; to subtract what is finer would round inward.
            var whole = DirtyBitmap(size: bits.size, granularity: bits.granularity)
            try merge.apply(exception, to: &whole)
            try subtract.apply(whole, to: &bits)
        }
        return bits
    }
}

/// The references of one table, whether it has a block or not.
struct TableReferences {
    /// To the table itself; to each of its pages, if it has no block.
    let table: Reference
    private let stored: [Reference]?

    init(_ table: Reference, stored: [Reference]?) {
        self.table = table
        self.stored = stored
    }

    /// - Parameter place: of the page within the table.
    subscript(place: Int) -> Reference { stored?[place] ?? table }

    func array(count: Int) -> [Reference] {
        stored.map { Array($0.prefix(count)) } ?? Array(repeating: table, count: count)
    }
}

/// One table of each tree of a formula, side by side.
struct FormulaTable {
    private let formula: BitFormula
    private let firstPage: Int
    private let tables: [TableReferences]

    /// What the whole table comes to, if it need not be looked into.
    let whole: Reference?

    init(_ formula: BitFormula, at index: Int, _ reader: BitReader) throws(BitmapStoreError) {
        whole = formula.resolve { formula.trees[$0].tables[index] }
        firstPage = index * BitLayout.pagesPerTable
        var tables: [TableReferences] = []
        if let whole {
            // All there is to know, so that the pages below are those of this one.
            self.formula = BitFormula(formula.first)
            tables.append(try reader.references(whole))
        } else {
            self.formula = formula
            for tree in formula.trees { tables.append(try reader.references(tree.tables[index])) }
        }
        self.tables = tables
    }

    /// What a page comes to; nil if it has to be computed.
    func resolve(_ page: Int) -> Reference? {
        formula.resolve { tables[$0][page - firstPage] }
    }

    /// A page for which no reference stands, as a bitmap that begins where the page does.
    ///
    /// - Parameter counts: gets the dirty bytes of the pages that were read.
    func compute(
        _ page: Int, _ reader: BitReader, counts: inout [Reference: Int64]
    ) throws(BitmapStoreError) -> DirtyBitmap {
        let layout = formula.layout
        var known: Reference? = tables[0][page - firstPage]
        var bits = DirtyBitmap(size: 0, granularity: layout.geometry.granularity)
        for operation in formula.operations {
            let result = operation.resolve(known) { tables[$0][page - firstPage] }
            if result == nil, let other = try operand(of: operation, page, reader, &counts) {
                if let known {
                    bits = try reader.load(page: page, known, layout)
                    counts[known] = bits.dirtyBytes
                }
                try operation.kind.apply(other.bits, to: &bits)
            }
            known = result
        }
        return bits
    }

    /// The right side of an operation on a page.
    ///
    /// - Returns: nil if it has nothing that could change the left one.
    private func operand(
        of operation: BitOperation, _ page: Int, _ reader: BitReader,
        _ counts: inout [Reference: Int64]
    ) throws(BitmapStoreError) -> SharedBits? {
        let reference = tables[operation.operand][page - firstPage]
        let kept = operation.exception.map { tables[$0][page - firstPage] } ?? .clean
        let right = BitOperation.Kind.subtract.resolve(reference, kept)
        if right == .clean { return nil }
        let bits = try reader.load(page: page, right ?? reference, formula.layout)
        counts[right ?? reference] = bits.dirtyBytes
        guard right == nil else { return SharedBits(bits) }
        let left = try reader.load(page: page, kept, formula.layout)
        counts[kept] = left.dirtyBytes
        return SharedBits(try BitOperation.Kind.leavingOut(left, of: bits))
    }
}
