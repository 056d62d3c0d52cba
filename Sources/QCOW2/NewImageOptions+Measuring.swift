extension NewImageOptions {
    /// Bytes of the disk that one L2 table of the image maps.
    package var l2Coverage: Int64 {
        clusterSize * (clusterSize / (extendedL2 ? 16 : 8))
    }

    /// Bytes of the image's file with so many clusters of data, and tables that lead to them.
    package func fileBytes(clusters: Int64, l2Tables: Int64) -> Int64 {
        func ceiling(_ value: Int64, _ divisor: Int64) -> Int64 { (value + divisor - 1) / divisor }
        let l1 = ceiling(ceiling(size, l2Coverage) * 8, clusterSize)
        let used = 1 + l1 + l2Tables + clusters
        let perBlock = clusterSize * 8 / Int64(refcountBits)
        // Refcounts count themselves, so that their number is found step by step.
        var blocks: Int64 = 1
        var tables: Int64 = 1
        while true {
            let total = used + blocks + tables
            let neededBlocks = ceiling(total, perBlock)
            let neededTables = max(ceiling(neededBlocks * 8, clusterSize), 1)
            if neededBlocks <= blocks && neededTables <= tables { return total * clusterSize }
            blocks = max(blocks, neededBlocks)
            tables = max(tables, neededTables)
        }
    }
}
