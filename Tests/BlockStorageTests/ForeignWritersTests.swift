import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Who else writes a target while this process does.
@Suite struct ForeignWritersTests {
    /// What other processes do to a file of 1 MiB.
    enum Deed: String, CaseIterable, CustomTestStringConvertible {
        case write, append, cut, cutAndGrow, punch, replaceByCopying

        var testDescription: String { rawValue }

        func happen(to path: String) throws {
            switch self {
            case .write: try shell("dd if=/dev/zero of=\(path) bs=4k count=1 conv=notrunc")
            case .append: try shell("echo more >>\(path)")
            case .cut: try shell("truncate -s 4K \(path)")
            case .cutAndGrow: try shell("truncate -s 4K \(path); truncate -s 1M \(path)")
            case .punch: try shell("fallocate --punch-hole --length 4K \(path)")
            case .replaceByCopying: try shell("cp /dev/null \(path)")
            }
        }

        private func shell(_ command: String) throws {
            try Shell.run("sh", "-c", command + " 2>&1")
        }
    }

    private func target(in scratch: Scratch) throws -> (device: StorageDevice, path: String) {
        let path = try scratch.file("target", size: 1 << 20)
        return (try StorageDevice.openForChange(FilePath(path), apartFrom: []), path)
    }

    private func writer(of device: StorageDevice) -> String? {
        do throws(StorageError) { try device.requireNoOtherWriter() } catch {
            guard case .writtenByOther(_, let writer) = error else {
                Issue.record("\(error)")
                return nil
            }
            return writer
        }
        return nil
    }

    @Test(arguments: Deed.allCases)
    func `another process is noticed`(_ deed: Deed) throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        #expect(device.blindnessToWriters == nil)
        try deed.happen(to: path)
        let found = try #require(writer(of: device))
        #expect(found.hasPrefix("process "), "\(found)")
        // What is known stays known.
        device.endWatch()
        #expect(writer(of: device) == found)
    }

    /// What writes without a note has opened the file, and closes it.
    @Test func `what has it open for writing may have written it`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        #expect(device.possibleWriter() == nil)
        try Shell.run("cat", path)
        #expect(device.possibleWriter() == nil)
        let program = """
            import os, sys, time
            f = os.open(sys.argv[1], os.O_RDWR)
            os.close(f)
            print("closed", flush=True)
            time.sleep(60)
            """
        let opener = try Child(["python3", "-c", program, path], in: scratch)
        try #require(opener.wait(until: { $0.output.contains("closed") }), "\(opener.errors)")
        let found = try #require(device.possibleWriter())
        #expect(found.contains("process \(opener.pid)"), "\(found)")
        #expect(writer(of: device) == nil)
    }

    /// How a process has a file `f` open where `/proc/PID/fd` does not show it.
    enum Hidden: String, CaseIterable, CustomTestStringConvertible {
        case mapped, threadsOwn, firstThreadEnded, inSocket

        var testDescription: String { rawValue }

        var program: String {
            switch self {
            case .mapped: "m = mmap.mmap(f, 4096); m[0:4] = b'test'; os.closerange(3, 64); tell()"
            case .threadsOwn:
                """
                def run():
                    global f
                    libc.unshare(0x400)
                    tell(); time.sleep(60)
                t = threading.Thread(target=run)
                t.start(); time.sleep(0.5); os.close(f)
                """
            case .firstThreadEnded:
                """
                def run():
                    time.sleep(0.5); tell(); time.sleep(60)
                threading.Thread(target=run).start()
                libc.syscall(60, 0)
                """
            case .inSocket:
                "a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [f]); os.close(f); tell()"
            }
        }

        func begin(_ path: String, in scratch: Scratch) throws -> Child {
            let child = try Child(
                [
                    "python3", "-c",
                    """
                    import ctypes, mmap, os, socket, sys, threading, time
                    libc = ctypes.CDLL(None)
                    def tell(): print("begun", flush=True)
                    f = os.open(sys.argv[1], os.O_RDWR)
                    \(program)
                    time.sleep(60)
                    """, path,
                ], in: scratch)
            try #require(child.wait(until: { $0.output.contains("begun") }), "\(child.errors)")
            return child
        }
    }

    @Test(arguments: Hidden.allCases)
    func `what has it open where nobody sees it may write`(_ hidden: Hidden) throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        let holder = try hidden.begin(path, in: scratch)
        let found = try #require(device.possibleWriter())
        #expect(found.contains("process \(holder.pid)"), "\(found)")
        // It still has it: a comparison does not change that.
        device.beginComparison()
        #expect(device.possibleWriter(compared: true) != nil)
        #expect(writer(of: device) == nil)
    }

    @Test func `what reads it does not write it`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        let reader = try Child(
            ["sh", "-c", "exec <\(path); echo begun; exec sleep 60"], in: scratch)
        try #require(reader.wait(until: { $0.output.contains("begun") }), "\(reader.errors)")
        #expect(device.possibleWriter() == nil)
    }

    /// The library may run one job after the other to one disk.
    @Test func `a second job hears of its own time alone`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        try Deed.write.happen(to: path)
        device.endWatch()
        #expect(writer(of: device) != nil)
        device.watchWriters()
        #expect(writer(of: device) == nil)
        try Shell.run("sh", "-c", "exec 3<>\(path)")
        #expect(device.possibleWriter() != nil)
        try Deed.write.happen(to: path)
        #expect(writer(of: device) != nil)
    }

    /// Who opens it while the guards look, or while its tables are read, is noted.
    @Test func `the watch begins before the guards`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        try Deed.write.happen(to: path)
        device.watchWriters()
        #expect(writer(of: device) != nil)
    }

    /// A reader whose first descriptor is closed may have another that writes.
    @Test func `a writer that was a reader before is found`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        let holder = try Child(
            [
                "sh", "-c",
                "exec 3<>\(path); cat <\(path) >/dev/null; exec 4<\(path) 4<&-; "
                    + "echo begun; exec sleep 60",
            ], in: scratch)
        try #require(holder.wait(until: { $0.output.contains("begun") }), "\(holder.errors)")
        #expect(device.possibleWriter() != nil)
    }

    @Test func `what was closed before a comparison can't have written since`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        try Shell.run("sh", "-c", "exec 3<>\(path)")
        device.beginComparison()
        #expect(device.possibleWriter() != nil)
        #expect(device.possibleWriter(compared: true) == nil)
        try Shell.run("sh", "-c", "exec 3<>\(path)")
        #expect(device.possibleWriter(compared: true) != nil)
    }

    @Test(.enabled(if: LoopDevice.isAvailable, "needs root and loop devices"))
    func `a loop device over a target may write`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        let loop = try scratch.loop(over: path)
        let found = try #require(device.possibleWriter())
        #expect(found.contains(loop.path), "\(found)")
    }

    @Test func `what this process writes is its own`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        for offset in 0..<100 {
            try SystemCalls.write(device.bufferedDescriptor, [1, 2], at: Int64(offset * 5000))
        }
        try SystemCalls.truncate(device.descriptor, to: 2 << 20)
        // Reading is no writing, nor is it to change the times.
        try Shell.run("cat", path)
        try Shell.run("touch", path)
        #expect(writer(of: device) == nil)
        // Nor do many notices of its own hide one of another's.
        try Deed.write.happen(to: path)
        #expect(writer(of: device) != nil)
    }

    @Test func `what comes after the end is not heard of`() throws {
        let scratch = try Scratch()
        let (device, path) = try target(in: scratch)
        device.watchWriters()
        device.watchWriters()
        #expect(writer(of: device) == nil)
        device.endWatch()
        try Deed.write.happen(to: path)
        #expect(writer(of: device) == nil)
    }

    @Test(.enabled(if: LoopDevice.isAvailable, "needs root and loop devices"))
    func `a disk is watched by its node`() throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 1 << 20)
        let device = try StorageDevice.openForChange(FilePath(loop.path), apartFrom: [])
        device.watchWriters()
        #expect(writer(of: device) == nil)
        try Deed.write.happen(to: loop.path)
        #expect(writer(of: device) != nil)
    }
}
