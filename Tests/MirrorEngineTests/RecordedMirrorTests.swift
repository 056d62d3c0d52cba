import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import MirrorEngine

/// What becomes of the record of a job whose bitmap is in the image of its source.
@Suite(.enabled(if: Shell.has("qemu-img", "qemu-io")), .timeLimit(.minutes(20)))
struct RecordedMirrorTests {
    /// A job that cleared a part of its bitmap has changed its source: nobody may be told that it
    /// can be resumed. Of the bitmap only granules go of which all was copied.
    @Test(arguments: [false, true])
    func `a settled bitmap takes the record along`(isAlways: Bool) async throws {
        let scratch = try Scratch()
        let image = scratch.path("image.qcow2")
        try Shell.run("qemu-img", "create", "-f", "qcow2", image, "8M")
        try Shell.run("qemu-img", "bitmap", "--add", "-g", "256K", image, "b")
        try Shell.run("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 8M", image)
        let source = try Disk.openSource(FilePath(image), changesBitmaps: true)
        let target = try Disk.openTarget(
            FilePath(scratch.path("target.raw")), for: source,
            options: TargetOptions(create: true))
        let store = FilePath(scratch.path("store"))
        var request = RecordedMirror.Request(.full)
        request.bitmap = "b"
        request.bitmapMode = isAlways ? .always : .onSuccess
        request.checkpointInterval = 0
        request.options.requestSize = 64 << 10
        request.options.depth = 1
        request.options.speedLimit = 1
        let mirror = try RecordedMirror.full(
            from: source, to: target, request: request, records: .path(store))
        async let end = mirror.run()
        // The limit lets no more than a few runs go.
        while mirror.job.progress.done == 0 { try await Task.sleep(for: .milliseconds(1)) }
        mirror.job.cancel()
        let report = await end
        #expect(report.mirror.outcome.isCancelled && report.recordError == nil)
        let done = report.mirror.done
        #expect(done > 0 && done < 8 << 20)

        let bitmaps = try #require(source.bitmaps)
        let left = try bitmaps.load("b")
        let cleared = isAlways ? done / (256 << 10) * (256 << 10) : 0
        let leftBytes = left.dirtyBytes
        #expect(leftBytes == (8 << 20) - cleared)
        #expect(report.resumableFrom == store)
        let again = try RecordedMirror.resume(
            from: source, to: target, request: request, records: .path(store))
        let planned = again.plannedBits().dirtyBytes
        #expect(planned >= (8 << 20) - done && planned <= leftBytes)
    }
}
