import Glibc
import MirrorEngine
import Ring
import TestSupport

/// What simulated disks make of a request, whatever queue brings it, and what requests have to be.
extension SimulatedKernel {
    func file(of request: Request) -> SimulatedFile? {
        let index = Int(request.file.rawValue)
        return files.indices.contains(index) ? files[index] : nil
    }

    /// Carries a request on a file out.
    ///
    /// - Parameters:
    ///   - id: the request, to the disk.
    ///   - flushMark: what a flush has to keep.
    func carryOut(
        _ request: Request, _ id: UInt64, flushMark: UInt64, _ buffers: BufferSlab,
        _ random: inout SeededGenerator
    ) -> Int32 {
        guard let disk = file(of: request)?.disk else { return -EBADF }
        if behaviour.stuck.contains(request.operation) { return -EAGAIN }
        if random.chance(percent: behaviour.transientPercent) {
            return random.chance(percent: 50) ? -EAGAIN : -EINTR
        }
        let offset = Int(request.offset)
        switch request.operation {
        case .read:
            return buffers.withMutableBytes(shortened(request, &random)) { span in
                span.withUnsafeMutableBytes { disk.read(at: offset, into: $0, using: &random) }
            }
        case .write:
            return buffers.withBytes(shortened(request, &random)) { span in
                span.withUnsafeBytes { disk.write(id, at: offset, $0, using: &random) }
            }
        case .punchHole, .zeroRange:
            return disk.zero(
                id, at: offset, count: Int(request.length),
                isPunch: request.operation == .punchHole)
        case .sync, .dataSync: return disk.flush(upTo: flushMark)
        case .writeBack:
            let codes = [EIO, ENOSPC, EINVAL, EOPNOTSUPP, ENODEV, EBUSY, ENOSYS]
            return disk.writeBack(losingWith: codes[Int.random(in: codes.indices, using: &random)])
        case .dropCache: return random.chance(percent: 20) ? -EINVAL : 0
        case .nop, .pollIn, .timeout, .cancel: return -EINVAL
        }
    }

    /// The memory that a read or write really uses.
    private func shortened(_ request: Request, _ random: inout SeededGenerator) -> Range<Int> {
        var count = Int(request.length)
        if count > 1 && random.chance(percent: behaviour.shortPercent) {
            count = Int.random(in: 1..<count, using: &random)
        }
        return request.bufferOffset..<(request.bufferOffset + count)
    }

    // MARK: the contract

    /// Reports what is wrong with a request on a file as it is enqueued, by itself and beside the
    /// others that change the same disk.
    func check(_ request: Request, _ id: UInt64) {
        guard let file = file(of: request) else {
            report("\(request.operation) on file \(request.file), which there is not")
            return
        }
        switch request.operation {
        case .read, .write: checkTransfer(request, file)
        case .punchHole, .zeroRange: checkZeroing(request, file)
        case .dataSync:
            // A checkpoint's, which claims only what was written before it.
            expect(file.isTarget, "the source was flushed")
        case .sync:
            expect(file.isTarget, "the source was flushed")
            expect(!file.disk.isChanging, "a flush was submitted before all writes ended")
        case .writeBack, .dropCache: break
        default: report("\(request.operation) was not expected")
        }
        guard request.changes else { return }
        let range = Int(request.offset)..<Int(request.offset + request.length)
        expect(file.isTarget, "\(request.operation) on the source")
        expect(
            file.disk.beginChange(id, range),
            "\(request.operation) at \(range) while another request changes some of it")
    }

    private func checkTransfer(_ request: Request, _ file: SimulatedFile) {
        let what = "\(request.operation) \(request.offset)+\(request.length)"
        let alignment = Int64(file.alignment)
        expect(
            request.offset % alignment == 0 && request.length % alignment == 0,
            "\(what) is off the alignment of \(alignment)")
        expect(
            alignment == 1 || request.bufferOffset % 512 == 0,
            "\(what) has its memory at \(request.bufferOffset), off the sector")
        expect(
            request.offset >= 0 && request.length > 0 && request.length <= requestSize,
            "\(what) is not within a request's limits")
        let memory = request.bufferOffset..<(request.bufferOffset + Int(request.length))
        expect(
            memory.lowerBound >= 0 && memory.upperBound <= zeroArea.upperBound,
            "\(what) has its memory at \(memory), outside the slab")
        expect(
            request.operation == .write || !memory.overlaps(zeroArea),
            "\(what) spoils the zero area")
    }

    private func checkZeroing(_ request: Request, _ file: SimulatedFile) {
        expect(!file.isImage, "\(request.operation) in an image")
        let block = Int64(file.blockSize)
        expect(
            request.offset % block == 0 && request.length % block == 0 && request.length > 0,
            "\(request.operation) \(request.offset)+\(request.length) is off the block of "
                + "\(block)")
    }
}
