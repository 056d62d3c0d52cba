internal import DirtyBitmap
internal import SystemPackage

/// Looks for data without a signature that a mirror would destroy: two names in the wrong order
/// must not cost a disk.
///
/// Of a file, this looks at what its filesystem calls data; of a disk, at all. What is short is
/// read whole. Of what is long a sample is read, which can miss a little data in many zeros.
enum DataGuard {
    static func check(
        _ target: OpenedObject, size: Int64, _ view: SystemView
    ) throws(StorageError) {
        for place in places(in: stretches(of: target, size: size)) {
            let found: DataInTheWay
            do throws(Errno) {
                let bytes = try SystemCalls.read(
                    target.descriptor.raw, at: place.lowerBound, count: place.count)
                guard let index = bytes.firstIndex(where: { $0 != 0 }) else { continue }
                found = .nonzero(offset: place.lowerBound + Int64(index))
            } catch {
                found = .unreadable(offset: place.lowerBound, error)
            }
            throw .refused(
                .holdsData(
                    target: target.path, storage: target.facts(size: size, view), found: found))
        }
    }

    /// What is no longer than this is read whole.
    private static let wholeMax: Int64 = 1 << 20
    /// How much is read at the ends of what is longer, and at each other place.
    private static let edge: Int64 = 1 << 16
    private static let block: Int64 = 4096
    private static let samples: Int64 = 64
    private static let stretchesMax = 256

    /// Where there can be data, in order. After many stretches, the rest counts as one.
    private static func stretches(of target: OpenedObject, size: Int64) -> [Range<Int64>] {
        guard size > 0 else { return [] }
        guard target.kind == .image,
            let magic = try? SystemCalls.filesystemMagic(target.descriptor),
            Filesystem(magic: magic).holesCanBeTrusted
        else { return [0..<size] }
        let scanner = ExtentScanner(descriptor: target.descriptor.raw, size: size)
        var found: [Range<Int64>] = []
        var offset: Int64 = 0
        while offset < size, found.count < stretchesMax {
            let extent = scanner.extent(at: offset)
            if extent.content == .data { found.append(extent.range) }
            offset = extent.range.upperBound
        }
        if offset < size { found.append(offset..<size) }
        return found
    }

    /// Where to look: the ends of all, the beginning of each stretch, and places at even distances
    /// in the stretches as if they were one.
    static func places(in stretches: [Range<Int64>]) -> [Range<Int64>] {
        guard let first = stretches.first, let last = stretches.last else { return [] }
        let length = stretches.reduce(0) { $0 + $1.upperBound - $1.lowerBound }
        guard length > wholeMax else { return stretches }
        var places = [
            first.prefix(edge), max(last.lowerBound, last.upperBound - edge)..<last.upperBound,
        ]
        places += stretches.map { $0.prefix(block) }
        let step = (length / samples).roundedDown(to: block)
        var skip: Int64 = 0
        for stretch in stretches {
            var offset = stretch.lowerBound + skip
            while offset < stretch.upperBound {
                places.append((offset..<stretch.upperBound).prefix(block))
                offset += step
            }
            skip = offset - stretch.upperBound
        }
        return places
    }
}

extension Range<Int64> {
    fileprivate func prefix(_ length: Int64) -> Range {
        lowerBound..<Swift.min(upperBound, lowerBound + length)
    }
}

extension OpenedObject {
    /// What an engineer knows it by, whatever its name: model, serial and size of a disk, size and
    /// time of a file.
    func facts(size: Int64, _ view: SystemView) -> String {
        switch kind {
        case .image:
            let modified = (try? SystemCalls.status(of: descriptor))?.modified
            return "\(size) bytes" + (modified.map { ", last written \(UTCTime($0))" } ?? "")
        case .disk:
            let identity = view.identity(of: status.special, size: size, diskSequence: nil)
            let facts = [
                identity.model, identity.serial.map { "serial \($0)" },
                identity.partition.map { "partition \($0)" }, "\(size) bytes",
            ]
            return facts.compactMap(\.self).joined(separator: ", ")
        }
    }
}
