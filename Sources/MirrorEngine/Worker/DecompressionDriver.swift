package import BlockStorage
internal import Glibc
internal import QCOW2
package import Ring

/// Decompresses clusters. Each thread that does so has one of its own.
package protocol Decompressing {
    /// Decompresses a whole cluster; false if the bytes don't make exactly one.
    func decompress(
        _ compressed: RawSpan, _ compression: Compression, into cluster: inout MutableRawSpan
    ) -> Bool
}

/// Makes what decompresses, on the thread that will use it.
package typealias MakeDecompressing = @Sendable () -> any Decompressing

/// What decompresses the formats that there are.
package let standardDecompressing: MakeDecompressing = { Decompressor() }

extension Decompressor: Decompressing {}

/// A cluster to be decompressed, or a part of one: from one range of a slab to another. Both belong
/// to whoever carries the task out, until it has ended.
package struct DecompressionTask: Sendable {
    /// Whose task it is; its end carries the number.
    package let number: Int
    package let slab: BufferSlab
    package let compressed: Range<Int>
    package let output: Range<Int>
    package let compression: Compression
    package let clusterLength: Int
    /// Bytes of the cluster before those that are wanted.
    package let skip: Int

    /// Decompresses the cluster, or says that it can't be.
    ///
    /// - Parameter scratch: memory for clusters of which a part is wanted, kept from task to task.
    package func carryOut(by decompressing: any Decompressing, _ scratch: inout ScratchMemory)
        -> Bool
    {
        slab.withBytes(compressed) { compressed in
            slab.withMutableBytes(output) { output in
                if skip == 0 && output.byteCount == clusterLength {
                    return decompressing.decompress(compressed, compression, into: &output)
                }
                return scratch.withBytes(clusterLength) { cluster in
                    guard decompressing.decompress(compressed, compression, into: &cluster) else {
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
/// A task that was started ends once, in any order, as a completion of
/// `QueueClient.decompression` with the task's number: 0 if the cluster was a good one, else
/// -EBADMSG.
package protocol DecompressionDriver: QueueDriver, Sendable {
    /// Begins a task, and does not wait.
    func start(_ task: DecompressionTask)
}

extension DecompressionTask {
    /// How the end of a task is told.
    package static func completion(of number: Int, isGood: Bool) -> Completion {
        Completion(
            token: ClientToken(.decompression, number).token, result: isGood ? 0 : -EBADMSG)
    }
}
