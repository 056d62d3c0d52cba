internal import DirtyBitmap

/// Stored bitmaps that are to be combined: from the first one others are taken away or added to
/// it, in order.
///
/// What nobody has touched since it was copied is the same block everywhere, and most of the rest
/// is all clean or all dirty. References alone say what comes out there, for whole tables as for
/// single pages; only where they don't, pages are read.
struct BitFormula {
    /// The one that is changed, then one for each operation.
    private(set) var trees: [BitTree]
    private(set) var operations: [BitOperation] = []

    init(_ first: BitTree) { trees = [first] }

    var first: BitTree { trees[0] }
    var layout: BitLayout { first.layout }

    /// Whether it can be worked out page by page.
    var hasOneLayout: Bool { trees.allSatisfy { $0.layout == layout } }

    /// Adds dirty bits, rounding outward.
    mutating func merge(_ tree: BitTree) { append(.merge, tree) }

    /// Takes dirty bits away, rounding inward.
    mutating func subtract(_ tree: BitTree) { append(.subtract, tree) }

    private mutating func append(_ operation: BitOperation, _ tree: BitTree) {
        operations.append(operation)
        // Nothing and everything are the same at any granularity.
        if tree.tables.allSatisfy({ $0 == .clean }) {
            trees.append(.clean(layout))
        } else if tree.tables.allSatisfy({ $0 == .dirty }) {
            trees.append(.dirty(layout))
        } else {
            trees.append(tree)
        }
    }

    /// - Parameter reference: to a table or page, by the index of its tree.
    /// - Returns: what all of it comes to; nil if what is behind the references must be looked at.
    func resolve(_ reference: (Int) -> Reference) -> Reference? {
        var result: Reference? = reference(0)
        for (index, operation) in operations.enumerated() {
            result = operation.resolve(result, reference(index + 1))
        }
        return result
    }
}

/// How two bitmaps become one.
enum BitOperation {
    case merge, subtract

    /// - Parameter left: nil if no reference stands for it.
    /// - Returns: nil if it depends on what is behind the references.
    func resolve(_ left: Reference?, _ right: Reference) -> Reference? {
        if right == .clean { return left }
        switch self {
        case .merge:
            if right == .dirty || left == .dirty { return .dirty }
            return left == .clean || left == right ? right : nil
        case .subtract:
            return right == .dirty || left == .clean || left == right ? .clean : nil
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
        for (index, operation) in formula.operations.enumerated() {
            let operand = tables[index + 1][page - firstPage]
            let result = operation.resolve(known, operand)
            if result == nil, operand != .clean {
                if let known {
                    bits = try reader.load(page: page, known, layout)
                    counts[known] = bits.dirtyBytes
                }
                let other = try reader.load(page: page, operand, layout)
                counts[operand] = other.dirtyBytes
                try operation.apply(other, to: &bits)
            }
            known = result
        }
        return bits
    }
}
