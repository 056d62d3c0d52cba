/// Reads and checks a qcow2 image in memory, in the plainest way, with nothing of the module that
/// is tested.
struct NaiveImage {
    let bytes: [UInt8]

    private func number(_ offset: Int, _ count: Int) -> Int {
        guard offset >= 0, offset + count <= bytes.count else { return 0 }
        return bytes[offset..<(offset + count)].reduce(0) { $0 << 8 | Int($1) }
    }

    private func word(_ offset: Int) -> UInt64 {
        guard offset >= 0, offset + 8 <= bytes.count else { return 0 }
        return bytes[offset..<(offset + 8)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }

    var isImage: Bool { number(0, 4) == 0x5146_49fb }
    var clusterBits: Int { number(20, 4) }
    var cluster: Int { 1 << clusterBits }
    var size: Int { number(24, 8) }
    private var isVersion3: Bool { number(4, 4) == 3 }
    private var isExtended: Bool { isVersion3 && number(72, 8) & 16 != 0 }
    private var order: Int { isVersion3 ? number(96, 4) : 4 }
    private var entrySize: Int { isExtended ? 16 : 8 }
    private static let mask: UInt64 = 0x00ff_ffff_ffff_fe00

    func refcount(_ index: Int) -> UInt64 {
        let perBlock = (cluster * 8) >> order
        let slot = index / perBlock
        guard slot < number(56, 4) * cluster / 8 else { return 0 }
        let block = Int(word(number(48, 8) + slot * 8))
        guard block != 0 else { return 0 }
        let inside = index % perBlock
        guard order < 3 else {
            return UInt64(number(block + inside << (order - 3), 1 << (order - 3)))
        }
        let bit = inside << order
        return UInt64(number(block + bit / 8, 1)) >> UInt64(bit % 8) & (1 << (1 << order) - 1)
    }

    /// References by cluster, and what is wrong with those that can't be.
    func references() -> (counts: [Int: Int], problems: [String]) {
        var counts: [Int: Int] = [:]
        var problems: [String] = []
        func use(_ offset: Int, _ length: Int, _ what: String) {
            if offset % cluster != 0 { problems.append("\(what) at \(offset) is not aligned") }
            for index in (offset >> clusterBits)..<((offset + length + cluster - 1) >> clusterBits)
            {
                counts[index, default: 0] += 1
            }
        }
        use(0, cluster, "header")
        use(number(48, 8), number(56, 4) * cluster, "refcount table")
        for slot in 0..<(number(56, 4) * cluster / 8) {
            let block = Int(word(number(48, 8) + slot * 8))
            if block != 0 { use(block, cluster, "refcount block") }
        }
        var l1s = [(number(40, 8), number(36, 4))]
        var snapshot = number(64, 8)
        for _ in 0..<number(60, 4) {
            l1s.append((number(snapshot, 8), number(snapshot + 8, 4)))
            let lengths = number(snapshot + 12, 2) + number(snapshot + 14, 2)
            snapshot += (40 + number(snapshot + 36, 4) + lengths + 7) / 8 * 8
        }
        if number(60, 4) > 0 { use(number(64, 8), snapshot - number(64, 8), "snapshots") }
        for (isActive, (l1, count)) in zip([true] + l1s.map { _ in false }, l1s) where count > 0 {
            use(l1, count * 8, "L1")
            for index in 0..<count {
                let entry = word(l1 + index * 8)
                let l2 = Int(entry & Self.mask)
                guard l2 != 0 else { continue }
                use(l2, cluster, "L2")
                if isActive, entry >> 63 == 1, refcount(l2 >> clusterBits) != 1 {
                    problems.append("an L2 table that others use is marked as copied")
                }
                for slot in 0..<(cluster / entrySize) {
                    let entry = word(l2 + slot * entrySize)
                    if entry & 1 << 62 != 0 {
                        let bits = 62 - (clusterBits - 8)
                        let start = Int(entry & (1 << UInt64(bits) - 1))
                        let sectors = Int((entry & ~(3 << 62)) >> UInt64(bits))
                        let end = start / 512 * 512 + (sectors + 1) * 512
                        let first = start / cluster * cluster
                        use(first, end - first, "compressed")
                    } else if entry & Self.mask != 0 {
                        let host = Int(entry & Self.mask)
                        use(host, cluster, "data")
                        if isActive, entry >> 63 == 1, refcount(host >> clusterBits) != 1 {
                            problems.append("data at \(host) is marked as copied")
                        }
                    }
                }
            }
        }
        return (counts, problems)
    }

    /// What a check would call an error; leaks are none unless `strict`.
    func problems(strict: Bool = false) -> [String] {
        guard isImage else { return ["no image"] }
        var (counts, problems) = references()
        for (index, count) in counts where refcount(index) < UInt64(count) {
            problems.append("cluster \(index): used \(count) times, counted \(refcount(index))")
        }
        if strict {
            for index in 0..<((bytes.count + cluster - 1) / cluster)
            where refcount(index) > UInt64(counts[index] ?? 0) {
                problems.append("cluster \(index) leaks")
            }
        }
        return problems
    }

    /// A sector of the disk; nil where the image below decides. Compressed clusters are not read.
    func sector(at offset: Int) -> [UInt8]? {
        let perTable = cluster / entrySize
        let l2 = Int(word(number(40, 8) + offset / cluster / perTable * 8) & Self.mask)
        guard l2 != 0 else { return nil }
        let slot = l2 + offset / cluster % perTable * entrySize
        let entry = word(slot)
        let host = Int(entry & Self.mask)
        let zeros = [UInt8](repeating: 0, count: 512)
        if isExtended {
            let part = UInt64(offset % cluster / (cluster / 32))
            let bitmap = word(slot + 8)
            if bitmap >> (32 + part) & 1 == 1 { return zeros }
            if bitmap >> part & 1 == 0 { return nil }
        } else {
            if entry & 1 == 1 { return zeros }
            if host == 0 { return nil }
        }
        let start = host + offset % cluster
        guard start + 512 <= bytes.count else { return zeros }
        return Array(bytes[start..<(start + 512)])
    }
}
