import Foundation
import Glibc
import TestSupport
import Testing

/// An image that nbdkit serves and nbdfuse shows as a file: a disk that fails on command, or
/// forgets what was not flushed.
final class NBDDisk {
    /// The file, which can be mirrored as it is, or have a loop device put on it.
    let path: String
    let image: String
    /// Where a fault reads the offset that it concerns from; it is in force while its file exists.
    private let faults: String
    private let server: Child
    private let client: Child

    enum Fault: String {
        /// Reads of the page at the offset fail.
        case read
        /// Reads of it fail until the last page of the disk has been read.
        case readOnce
        /// Writes of the page at the offset fail.
        case write
        /// Writes say that the disk is full.
        case full
        case flush
        /// Flushes wait for as long as the fault is there.
        case hang
    }

    /// Serves `image` with faults on command. Each request is a shell script, so keep the disk
    /// small.
    static func failing(_ image: String, in scratch: Scratch) throws -> NBDDisk {
        let faults = scratch.path("faults-\(UInt32.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(atPath: faults, withIntermediateDirectories: true)
        // $3 is the length of a request, and $4 its offset.
        let hits = """
            hits() { [ -e \(faults)/$1 ] && read bad < \(faults)/$1 && \
            [ $(($3 / 4096)) -le $((bad / 4096)) ] && [ $(($3 + $2)) -gt $bad ]; }
            """
        let size = try Content.size(image)
        return try NBDDisk(
            image, faults: faults,
            server: [
                "eval", "get_size=echo \(size)", "can_write=exit 0", "can_flush=exit 0",
                "thread_model=echo parallel",
                """
                pread=\(hits)
                if hits read $3 $4 || hits readOnce $3 $4; then echo EIO bad block >&2; exit 1; fi
                [ $(($4 + $3)) -lt \(size) ] || rm -f \(faults)/readOnce
                exec dd if=\(image) bs=1M skip=$4 count=$3 iflag=skip_bytes,count_bytes status=none
                """,
                """
                pwrite=\(hits)
                if hits write $3 $4; then echo EIO bad block >&2; exit 1; fi
                if [ -e \(faults)/full ]; then echo ENOSPC full >&2; exit 1; fi
                exec dd of=\(image) bs=1M seek=$4 oflag=seek_bytes conv=notrunc status=none
                """,
                """
                flush=while [ -e \(faults)/hang ]; do : > \(faults)/flushing; sleep 0.01; done
                rm -f \(faults)/flushing
                if [ -e \(faults)/flush ]; then echo EIO no flush >&2; exit 1; fi
                """,
            ], in: scratch)
    }

    /// Serves `image` so that a trim succeeds and does nothing.
    static func ignoringTrims(_ image: String, in scratch: Scratch) throws -> NBDDisk {
        try NBDDisk(
            image, faults: scratch.path,
            server: [
                "eval", "get_size=echo \(try Content.size(image))", "can_write=exit 0",
                "can_flush=exit 0", "flush=exit 0", "can_trim=exit 0", "trim=exit 0",
                "pread=exec dd if=\(image) bs=1M skip=$4 count=$3 iflag=skip_bytes,count_bytes "
                    + "status=none",
                "pwrite=exec dd of=\(image) bs=1M seek=$4 oflag=seek_bytes conv=notrunc "
                    + "status=none",
            ], in: scratch)
    }

    /// Serves `image` as a disk whose cache only a flush empties. `kill` is the power cut.
    static func withVolatileCache(_ image: String, in scratch: Scratch) throws -> NBDDisk {
        try NBDDisk(
            image, faults: scratch.path,
            server: ["--filter=cache", "file", image, "cache=writeback"], in: scratch)
    }

    /// Serves `image` through filters, whose parameters come last.
    static func filtered(
        _ image: String, _ filters: [String], _ parameters: [String], in scratch: Scratch
    ) throws -> NBDDisk {
        try NBDDisk(
            image, faults: scratch.path,
            server: filters.map { "--filter=\($0)" } + ["file", image] + parameters, in: scratch)
    }

    private init(
        _ image: String, faults: String, server arguments: [String], in scratch: Scratch
    ) throws {
        self.image = image
        self.faults = faults
        let number = UInt32.random(in: 0 ... .max)
        let socket = scratch.path("nbd-\(number)")
        let directory = scratch.path("fuse-\(number)")
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        path = directory + "/disk"
        server = try Child(["nbdkit", "-f", "-t", "4", "-U", socket] + arguments, in: scratch)
        let server = server
        scratch.onCleanup { _ in server.kill(group: SIGKILL) }
        try #require(
            server.wait(until: { _ in access(socket, F_OK) == 0 }), "nbdkit: \(server.errors)")
        client = try Child(["nbdfuse", path, "--unix", socket], in: scratch)
        let client = client
        scratch.onCleanup { _ in
            _ = try? Shell.run("umount", "-l", directory)
            client.kill(group: SIGKILL)
        }
        let path = path
        try #require(
            client.wait(until: { _ in access(path, F_OK) == 0 }), "nbdfuse: \(client.errors)")
    }

    func set(_ fault: Fault, at offset: Int64 = 0) throws {
        try Data("\(offset)\n".utf8).write(to: URL(fileURLWithPath: "\(faults)/\(fault.rawValue)"))
    }

    /// Waits until a flush has begun that `.hang` keeps from ending; false if none does.
    func waitForFlush() -> Bool {
        for _ in 0..<4000 {
            if access("\(faults)/flushing", F_OK) == 0 { return true }
            usleep(5_000)
        }
        return false
    }

    func heal(_ fault: Fault) { unlink("\(faults)/\(fault.rawValue)") }

    /// The server dies, with everything it had in memory.
    func kill() { server.kill(group: SIGKILL) }
}
