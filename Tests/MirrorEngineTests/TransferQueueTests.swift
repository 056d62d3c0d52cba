import Foundation
import Ring
import Testing

@testable import MirrorEngine

@Suite(.timeLimit(.minutes(20))) struct TransferQueueTests {
    private func kernel(_ disk: SimulatedDisk, alignment: Int, seed: UInt64) -> SimulatedKernel {
        let file = SimulatedFile(
            disk: disk, alignment: alignment, blockSize: alignment, isTarget: true)
        var behaviour = SimulatedKernel.Behaviour()
        behaviour.seed = seed
        return SimulatedKernel(
            files: [file], requestSize: 1 << 20, zeroArea: 1 << 20..<2 << 20, behaviour: behaviour)
    }

    /// Runs one transfer to its end, and skips what fails. Returns what failed.
    private func run(_ transfer: Transfer, _ kernel: SimulatedKernel) throws -> [Range<Int64>] {
        let queue = try SimulatedQueue(kernel: kernel, depth: 1, byteCount: 2 << 20)
        var transfers = TransferQueue(queue: queue, zeroArea: 1 << 20..<2 << 20)
        var failed: [Range<Int64>] = []
        transfers.start(transfer)
        while transfers.inFlight > 0 {
            try transfers.wait(timeoutNanoseconds: nil)
            while let outcome = transfers.nextOutcome() {
                guard case .failed(let index, let transfer, _, let count) = outcome else {
                    continue
                }
                failed.append(transfer.position..<(transfer.position + count))
                _ = transfers.skip(index, count: count)
            }
        }
        let hasRoom = transfers.hasRoom
        #expect(hasRoom)
        #expect(kernel.violations == [])
        return failed
    }

    private func transfer(_ kind: Transfer.Kind, alignment: Int) -> Transfer {
        Transfer(
            kind, file: FileIndex(0), owner: .slot(SlotIndex(0)), range: 0..<(1 << 20),
            alignment: alignment,
            stride: 1 << 20)
    }

    /// A bad sector in 1 MiB costs a block, and far fewer requests than there are blocks.
    @Test(
        arguments: [Transfer.Kind.read, .write, .writeZeros, .punchHole],
        [0, 511, 512, 300 * 512, 1_000_000, (1 << 20) - 1])
    func `a failure is narrowed down to the block`(kind: Transfer.Kind, offset: Int) throws {
        for (alignment, seed) in [(512, 1), (512, 2), (4096, 3), (1, 4)] as [(Int, UInt64)] {
            let disk = SimulatedDisk([UInt8](repeating: 1, count: 1 << 20))
            let sector = offset & ~511
            disk.add(.init(bytes: sector..<(sector + 512), directions: [.read, .write, .zeroing]))
            let kernel = kernel(disk, alignment: alignment, seed: seed)
            let failed = try run(transfer(kind, alignment: alignment), kernel)
            let block = Int64(max(alignment, 512))
            let start = Int64(sector) & ~(block - 1)
            #expect(failed == [start..<(start + block)])
            // 16 steps at most of each of three sizes down, and as many up again.
            #expect(kernel.records.count <= 6 * 16 + 4)
        }
    }

    /// A disk that is bad all over must still come to an end, one block at a time.
    @Test func `a disk that is all bad comes to an end`() throws {
        let disk = SimulatedDisk([UInt8](repeating: 1, count: 1 << 20))
        disk.add(.init(bytes: 0..<(1 << 20), directions: [.read]))
        let kernel = kernel(disk, alignment: 512, seed: 1)
        let failed = try run(transfer(.read, alignment: 512), kernel)
        #expect(failed.count == 2048)
        #expect(failed.first == 0..<512 && failed.last == (1 << 20) - 512..<(1 << 20))
        #expect(kernel.records.count <= 2048 + 4)
    }

    /// Errors that no smaller request could cure must not be searched for.
    @Test(arguments: [EPERM, ENOSPC, ENODEV, EINVAL])
    func `other errors are not narrowed down`(code: CInt) throws {
        let disk = SimulatedDisk([UInt8](repeating: 1, count: 1 << 20))
        disk.add(.init(bytes: 0..<512, directions: [.read], code: code))
        let kernel = kernel(disk, alignment: 512, seed: 1)
        #expect(try run(transfer(.read, alignment: 512), kernel) == [0..<(1 << 20)])
        #expect(kernel.records.count == 1)
    }
}

@Suite struct FailureLogTests {
    /// Neighbours join; what differs in side or cause does not; and there is an end to the list.
    @Test func `neighbours are joined, and the log ends`() {
        let log = FailureLog()
        let cause = FailureCause.errno(EIO)
        #expect(log.add(FailedRange(side: .source, range: 0..<512, cause: cause)))
        #expect(log.add(FailedRange(side: .source, range: 512..<1024, cause: cause)))
        #expect(log.add(FailedRange(side: .target, range: 1024..<1536, cause: cause)))
        #expect(log.add(FailedRange(side: .target, range: 1536..<2048, cause: .endOfFile)))
        #expect(log.all.map(\.range) == [0..<1024, 1024..<1536, 1536..<2048])
        for index in 3..<Int64(FailureLog.limit) {
            let start = index * 4096
            _ = log.add(FailedRange(side: .source, range: start..<(start + 512), cause: cause))
        }
        #expect(log.all.count == FailureLog.limit)
        #expect(!log.add(FailedRange(side: .source, range: 0..<512, cause: cause)))
    }
}
