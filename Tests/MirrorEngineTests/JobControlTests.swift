import Glibc
import Ring
import Testing

@testable import BlockStorage
@testable import MirrorEngine

/// Pausing by an error, and going on.
@Suite struct JobControlTests {
    @Test func `an error that was resumed is forgotten`() {
        let control = JobControl(speedLimit: nil)
        control.pause(because: .invalidOption("one"))
        control.pause(because: .invalidOption("two"))
        #expect(control.pausedBy.map { "\($0)" } == "\(MirrorError.invalidOption("one"))")
        #expect(control.pauseState.pauses == 1)
        control.resume()
        #expect(control.pausedBy == nil && !control.isPaused)
        control.pause()
        #expect(control.pausedBy == nil && control.isPaused)
        control.resume()
        control.pause(because: .invalidOption("three"))
        #expect(control.pausedBy.map { "\($0)" } == "\(MirrorError.invalidOption("three"))")
        #expect(control.pauseState.pauses == 2)
    }

    /// Whenever it comes: a call that is missed would be waited for for an hour.
    @Test(.timeLimit(.minutes(5)))
    func `what waits in a paused job is woken by what ends the pause`() throws {
        let calls: [@Sendable (JobControl) -> Void] = [
            { $0.resume() }, { $0.cancel() }, { $0.fail(.cancelled) },
        ]
        for round in 0..<300 {
            let control = JobControl(speedLimit: nil)
            control.start()
            control.pause()
            let wait: @Sendable () -> Void = {
                while control.isPaused, !control.isStopping {
                    control.waitWhilePaused(limit: 3_600_000_000_000)
                }
            }
            let threads = try (0..<2).map { _ in try #require(WorkerThread(wait)) }
            if round.isMultiple(of: 2) { sched_yield() }
            calls[round % calls.count](control)
            for thread in threads { thread.join() }
        }
    }
}

/// How much memory a job asks for.
@Suite struct JobSizingTests {
    private func sizing(_ size: Int64, _ options: MirrorOptions) throws -> JobSizing {
        let geometry = Geometry(
            size: size, logicalBlockSize: 512, physicalBlockSize: 512, memoryAlignment: 512,
            offsetAlignment: 512, optimalTransfer: nil, maxTransfer: nil, queueDepth: nil,
            isRotational: nil)
        return try JobSizing(options, source: geometry, target: geometry)
    }

    @Test func `buffers take no more than the disk`() throws {
        var options = MirrorOptions()
        options.rings = 64
        options.depth = 1024
        options.requestSize = 512 << 10
        #expect(try sizing(4 << 20, options).bufferBytes <= 5 << 20)
        #expect(try sizing(0, options).bufferBytes == 1 << 20)
    }

    @Test func `buffers take no more than the memory`() {
        var options = MirrorOptions()
        options.rings = 64
        options.depth = 1024
        options.requestSize = 512 << 10
        // 32 GiB: machines that have 64 are not asked.
        let pages = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        guard pages < 48 << 30 else { return }
        #expect(throws: MirrorError.self) { _ = try sizing(1 << 40, options) }
    }
}
