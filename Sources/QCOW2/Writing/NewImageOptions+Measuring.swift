internal import DirtyBitmap

extension NewImageOptions {
    /// Bytes of the disk that one L2 table of the image maps.
    package var l2Coverage: Int64 {
        clusterSize * (clusterSize / (extendedL2 ? 16 : 8))
    }

    /// The most that the image's file can have with so many clusters of data, and tables that lead
    /// to them.
    package func fileBytesMax(clusters: Int64, l2Tables: Int64) -> Int64 {
        let perBlock = clusterSize * 8 / Int64(refcountBits)
        let entriesPerCluster = clusterSize / 8
        let l1 = (size.dividedRoundingUp(by: l2Coverage) * 8)
            .dividedRoundingUp(by: clusterSize)
        let used = l2Tables + clusters
        var blocks: Int64 = 1
        while true {
            // A refcount table that has become too small moves behind all else and grows by half,
            // and may have done so just now: the old ones, each a third smaller, are holes then.
            let needed = blocks.dividedRoundingUp(by: entriesPerCluster)
            let tables = needed == 1 ? 1 : needed + needed / 2 + 1 + 3 * needed
            // A long L1 table begins behind all blocks of refcounts that there are, and a larger
            // refcount table, if it needs one, behind those as well. What they leave free of two
            // blocks is what is taken first afterwards.
            let left = needed == 1 ? perBlock : 2 * perBlock
            let gap = l1 > perBlock - 3 ? max(0, left - used) : 0
            let total = 1 + l1 + gap + used + blocks + tables
            // Refcounts count themselves, so that their number is found step by step.
            let counted = total.dividedRoundingUp(by: perBlock) + (needed == 1 ? 0 : 1)
            if counted <= blocks { return total * clusterSize }
            blocks = counted
        }
    }

    /// The most that it can have when nothing of the disk has been written.
    package var emptyBytesMax: Int64 {
        preallocatesMetadata ? fullBytesMax : fileBytesMax(clusters: 0, l2Tables: 0)
    }

    /// The most that it can have when all of the disk has been written.
    package var fullBytesMax: Int64 {
        fileBytesMax(
            clusters: size.dividedRoundingUp(by: clusterSize),
            l2Tables: size.dividedRoundingUp(by: l2Coverage))
    }
}
