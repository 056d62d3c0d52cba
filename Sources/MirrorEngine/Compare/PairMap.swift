internal import BlockStorage

/// Two disks that are compared: there is nothing to read only where both are known to be zero.
struct PairMap: SourceMap {
    let first: any SourceMap
    let second: any SourceMap
    let size: Int64

    init(_ first: any SourceMap, _ second: any SourceMap) {
        self.first = first
        self.second = second
        size = min(first.size, second.size)
    }

    var name: String { "\(first.name) and \(second.name)" }
    var endpoints: [Endpoint] { first.endpoints + second.endpoints }
    var alignment: Int { max(first.alignment, second.alignment) }
    var unit: Int64 { max(first.unit, second.unit) }
    var compressedLengthMax: Int { max(first.compressedLengthMax, second.compressedLengthMax) }

    func content(at offset: Int64) throws(StorageError) -> StorageExtent {
        let left = try first.content(at: offset)
        let right = try second.content(at: offset)
        let bothZero = left.content == .zero && right.content == .zero
        let end =
            switch (left.content, right.content) {
            case (.data, .data): max(left.range.upperBound, right.range.upperBound)
            case (.data, .zero): left.range.upperBound
            case (.zero, .data): right.range.upperBound
            case (.zero, .zero): min(left.range.upperBound, right.range.upperBound)
            }
        return StorageExtent(range: offset..<min(end, size), content: bothZero ? .zero : .data)
    }

    /// A pair has no single place; its sides are asked.
    func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
        try first.locate(at: offset, limit: limit)
    }

    func sizeChange() throws(StorageError) -> SizeChange? {
        if let change = try first.sizeChange() { return change }
        return try second.sizeChange()
    }
}
