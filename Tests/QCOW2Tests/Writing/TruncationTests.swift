import BlockStorage
import Testing

@testable import QCOW2

@Suite struct TruncationTests {
    /// What the last cluster of the file is when its place is asked for.
    enum LastCluster: CaseIterable {
        case free, waiting, written
    }

    @Test(arguments: LastCluster.allCases)
    func `the last cluster of a file that something else has truncated gets no place`(
        _ last: LastCluster
    ) throws {
        var options = NewImageOptions(size: 1 << 20)
        options.clusterSize = 4096
        let image = MemoryImage()
        _ = try options.create(in: image)
        let target = try TargetDriver(image, isNew: true, growth: 1 << 18).target
        var offset: Int64 = 0
        var end: Int64 = 0
        // Until the next cluster is the last for which the file has room.
        repeat {
            end = try target.place(at: offset, limit: offset + 4096).hostOffset + 4096
            offset += 4096
        } while try image.length() != end + 4096
        let range = offset..<(offset + 4096)
        if last != .free { _ = try target.place(at: range.lowerBound, limit: range.upperBound) }
        if last == .written { target.wrote(range) }
        try image.resize(to: 16384)
        let error = #expect(throws: StorageError.self) {
            try target.place(at: range.lowerBound, limit: range.upperBound)
        }
        #expect(error?.code == .writtenMeanwhile)
        #expect(try image.length() == 16384)
    }
}
