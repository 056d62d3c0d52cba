import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// A source whose files were written, and which reads as it did.
@Suite struct SourceWitnessTests {
    private static let size = 8 * 512

    private func request(_ bitmap: String, _ seen: Int) -> JobRequest {
        var request = JobRequest(
            mode: .full, bitmap: .stored(bitmap), source: disk("source", size: Self.size),
            sourcePath: "s", target: disk(bitmap, size: Self.size), targetPath: FilePath(bitmap))
        request.sourceWitness = witness(seen)
        return request
    }

    @Test func `who knew how its files were knows how they are, and nobody else does`() throws {
        let (disk, store) = try makeStore(disk("source", size: Self.size))
        for (name, seen) in [("a", 1), ("b", 2)] {
            try store.add(name, granularity: .min)
            try store.beginJob(request(name, seen)).finish(
                .success, sourceWitness: witness(seen))
            var again = request(name, seen)
            again.target = BitmapStoreTests.disk(name + "'", size: Self.size)
            try store.beginJob(again).finish(.failure)
        }
        try store.add("c", granularity: .min)
        try store.beginJob(request("c", 1)).finish(.success)
        try store.renewSourceWitness(witness(1), witness(3))
        let found = try openStore(disk)
        let seen = try found.bitmaps().map { $0.lastSuccess?.sourceWitness }
        #expect(seen == [witness(3), witness(2), []])
        #expect(try found.jobs().map(\.sourceWitness) == [witness(3), witness(2)])
    }
}
