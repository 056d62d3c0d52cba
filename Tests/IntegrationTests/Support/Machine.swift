import Foundation
import Glibc
import TestSupport
import Testing

/// A program that has an image open as a virtual machine has its disk.
final class Machine {
    private let daemon: Child

    /// Opens the image for writing, or only for reading.
    init(_ image: String, format: String = "qcow2", readOnly: Bool = false, in scratch: Scratch)
        throws
    {
        let socket = scratch.path("machine-\(UInt32.random(in: 0 ... .max))")
        let access = readOnly ? "on" : "off"
        daemon = try Child(
            [
                "qemu-storage-daemon", "--blockdev",
                "driver=file,node-name=file,filename=\(image),read-only=\(access)",
                "--blockdev",
                "driver=\(format),node-name=disk,file=file,read-only=\(access)",
                "--nbd-server", "addr.type=unix,addr.path=\(socket)", "--export",
                "type=nbd,id=export,node-name=disk,writable=\(readOnly ? "off" : "on")",
                "--pidfile", socket + ".pid",
            ], in: scratch)
        let daemon = daemon
        scratch.onCleanup { _ in daemon.kill(group: SIGKILL) }
        // The file with its number is written when everything is open.
        try #require(
            daemon.wait(until: { _ in FileManager.default.fileExists(atPath: socket + ".pid") }),
            "qemu-storage-daemon: \(daemon.errors)")
    }

    var pid: pid_t { daemon.pid }

    /// Ends without a word to anybody.
    func die() { daemon.kill(group: SIGKILL) }

    /// Ends as it should.
    func shutDown() throws {
        daemon.send(SIGTERM)
        try daemon.wait()
    }
}
