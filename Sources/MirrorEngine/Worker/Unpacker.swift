package import BlockStorage
internal import Glibc
internal import QCOW2
package import Ring

/// Decompresses clusters. Each thread that does so has one of its own.
package protocol Unpacking {
    /// Decompresses a whole cluster; false if the bytes don't make exactly one.
    func unpack(
        _ packed: RawSpan, _ compression: Compression, into cluster: inout MutableRawSpan
    ) -> Bool
}

/// Makes what decompresses, on the thread that will use it.
package typealias MakeUnpacking = @Sendable () -> any Unpacking

/// What decompresses the formats that there are.
package let standardUnpacking: MakeUnpacking = { Decompressor() }

extension Decompressor: Unpacking {}

/// A cluster to be decompressed, or a part of one: from one range of a slab to another. Both belong
/// to whoever carries the task out, until it has ended.
package struct UnpackTask: Sendable {
    /// Whose task it is; its end carries the number.
    package let number: Int
    package let slab: BufferSlab
    package let packed: Range<Int>
    package let output: Range<Int>
    package let compression: Compression
    package let clusterLength: Int
    /// Bytes of the cluster before those that are wanted.
    package let skip: Int

    /// Decompresses the cluster, or says that it can't be.
    ///
    /// - Parameter scratch: memory for clusters of which a part is wanted, kept from task to task.
    package func carryOut(by unpacking: any Unpacking, _ scratch: inout ScratchMemory) -> Bool {
        slab.withBytes(packed) { packed in
            slab.withMutableBytes(output) { output in
                if skip == 0 && output.byteCount == clusterLength {
                    return unpacking.unpack(packed, compression, into: &output)
                }
                return scratch.withBytes(clusterLength) { cluster in
                    guard unpacking.unpack(packed, compression, into: &cluster) else {
                        return false
                    }
                    output.copy(cluster.bytes.extracting(skip..<(skip + output.byteCount)))
                    return true
                }
            }
        }
    }
}

/// Where a worker has clusters decompressed, off its own thread: a pool of threads, or a simulation
/// in tests.
///
/// A task that was started ends once, in any order, as a completion of `QueueClient.unpacker` with
/// the task's number: 0 if the cluster was a good one, else -EBADMSG.
package protocol Unpacker: QueueDriver, Sendable {
    /// Begins a task, and does not wait.
    func start(_ task: UnpackTask)
}

extension UnpackTask {
    /// How the end of a task is told.
    package static func completion(of number: Int, isGood: Bool) -> Completion {
        Completion(
            token: ClientToken(.unpacker, number).token, result: isGood ? 0 : -EBADMSG)
    }
}
