import BitmapStore
import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import MirrorEngine

/// A claim names what an earlier job took on trust, until all of the target was copied or compared.
@Suite(.timeLimit(.minutes(20))) struct DoubtTests {
    private static let size = 1 << 20

    private struct Pair {
        let scratch: Scratch
        let source, target: FilePath
        let store: BitmapStore

        /// Two files with the same bytes, and a bitmap that knows no target.
        init() throws {
            scratch = try Scratch()
            let content = Data(repeating: 5, count: DoubtTests.size)
            source = FilePath(scratch.path("source"))
            target = FilePath(scratch.path("target"))
            for path in [source, target] {
                try content.write(to: URL(fileURLWithPath: path.string))
            }
            let disk = try Disk.openSource(source)
            store = try BitmapStore.openOrCreate(
                FilePath(scratch.path("store")), for: disk.identity)
            try store.add("b")
        }

        /// Runs a job that copies something, and ends with its claim.
        func run(
            _ mode: JobMode, _ change: (inout RecordedMirror.Request) -> Void = { _ in }
        ) throws -> MirrorClaim {
            try store.mark("b", [0..<1])
            let source = try Disk.openSource(source)
            let target = try Disk.openTarget(
                target, for: source, options: TargetOptions(overwrite: true))
            var request = RecordedMirror.Request(mode)
            request.bitmap = "b"
            change(&request)
            let mirror =
                mode == .full
                ? try RecordedMirror.full(
                    from: source, to: target, request: request, records: .store(store))
                : try RecordedMirror.incremental(
                    from: source, to: target, request: request, records: .store(store))
            let report = mirror.runAndWait()
            #expect(report.recordError == nil && report.mirror.outcome.isMirrored)
            return report.claim
        }
    }

    private func doubts(_ claim: MirrorClaim) -> [TargetDoubt.Kind] {
        claim.evidence.compactMap {
            if case .notProven(let doubt) = $0 { doubt.kind } else { nil }
        }
    }

    @Test(arguments: [false, true])
    func `a target taken on trust`(isVouched: Bool) throws {
        let pair = try Pair()
        let first = try pair.run(.incremental) { $0.allowNewTarget = isVouched }
        #expect(doubts(first).isEmpty && first.kind == .mirrorByBitmap)
        let sample = first.evidence.lazy.compactMap {
            if case .sample(let places) = $0 { places } else { nil }
        }
        let places = try #require(sample.first)
        for _ in 0..<2 {
            let later = try pair.run(.incremental)
            #expect(doubts(later) == [isVouched ? .vouched : .assumed])
            #expect(later.evidence.contains(.targetUntouched))
            #expect(later.evidence.contains { $0.text.contains("(\(places) places of a sample") })
        }
        // What was copied alone proves nothing of the rest.
        #expect(try !doubts(pair.run(.incremental) { $0.verification = .copied }).isEmpty)
        let proven = try pair.run(.incremental) { $0.verification = .all }
        #expect(proven.kind == .mirror && doubts(proven).isEmpty)
        #expect(try doubts(pair.run(.incremental)).isEmpty)
    }

    @Test func `a full mirror leaves no doubt`() throws {
        let pair = try Pair()
        _ = try pair.run(.incremental)
        #expect(try pair.run(.full).kind == .mirror)
        #expect(try doubts(pair.run(.incremental)).isEmpty)
    }

    @Test func `a promise of zeros stays`() throws {
        let pair = try Pair()
        // Nothing of the source is zero: the promise was of no use, and nothing rests on it.
        #expect(try pair.run(.full) { $0.options.targetIsZero = true }.kind == .mirror)
        #expect(try doubts(pair.run(.incremental)).isEmpty)
        for path in [pair.source, pair.target] {
            try Data(count: Self.size).write(to: URL(fileURLWithPath: path.string))
        }
        let claim = try pair.run(.full) { $0.options.targetIsZero = true }
        #expect(claim.kind == .mirrorByEvidence)
        #expect(try doubts(pair.run(.incremental)) == [.zeros])
    }

    @Test func `what times can hide stays`() throws {
        let pair = try Pair()
        #expect(try pair.run(.full).kind == .mirror)
        chmod(pair.target.string, 0o640)
        let claim = try pair.run(.incremental)
        #expect(claim.evidence.contains { $0.code == "targetTouched" })
        #expect(try doubts(pair.run(.incremental)) == [.touched])
    }
}
