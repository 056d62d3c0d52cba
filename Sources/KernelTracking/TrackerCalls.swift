internal import BlockStorage
internal import CBPF
internal import CLinux
internal import Glibc
internal import SystemPackage

/// The system calls and the library's functions that this module needs, behind safe signatures.
enum TrackerCalls {
    /// What libbpf and the kernel's verifier say at most.
    private static let logSize = 16 << 10

    /// What was loaded, or why not all of it could be.
    struct Loaded {
        var maps = [CInt](repeating: -1, count: Int(ringmirror_tracker_maps))
        var programs = [CInt](repeating: -1, count: Int(ringmirror_tracker_programs))
        var code: Errno?
        var log = ""
    }

    static func load(_ plan: inout ringmirror_tracker_plan) -> Loaded {
        var loaded = Loaded()
        var log = [CChar](repeating: 0, count: logSize)
        let failure = unsafe ringmirror_tracker_load(
            &plan, &loaded.maps, &loaded.programs, &log, log.count)
        guard failure != 0 else { return loaded }
        let text = log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        var lines = String(decoding: text, as: UTF8.self)
        while lines.last?.isNewline == true { lines.removeLast() }
        loaded.code = Errno(rawValue: failure)
        loaded.log = lines
        return loaded
    }

    /// Begins to run a program, until what is returned is closed and nothing else has it.
    static func attach(_ program: CInt) throws(TrackingError) -> Descriptor {
        var link: CInt = -1
        let failure = unsafe ringmirror_tracker_attach(program, &link)
        guard failure == 0 else { throw error("attaching", "bpf", failure) }
        return Descriptor(link)
    }

    static func program(_ descriptor: CInt) throws(TrackingError) -> ringmirror_bpf_program {
        var found = ringmirror_bpf_program()
        let failure = unsafe ringmirror_bpf_look_at_program(descriptor, &found)
        guard failure == 0 else { throw error("looking at a program", "bpf", failure) }
        return found
    }

    /// The id of the program that a link lets run; nil if it is no such link.
    static func program(ofLink descriptor: CInt) -> UInt32? {
        var id: UInt32 = 0
        return unsafe ringmirror_bpf_look_at_link(descriptor, &id) == 0 ? id : nil
    }

    static func byteCount(ofMap descriptor: CInt) throws(TrackingError) -> Int {
        var bytes: UInt64 = 0
        let failure = unsafe ringmirror_bpf_look_at_map(descriptor, &bytes)
        guard failure == 0 else { throw error("looking at a map", "bpf", failure) }
        return Int(clamping: bytes)
    }

    /// A number for the table of a device-mapper disk; nil if it can't be read.
    static func tableHash(of disk: DeviceNumber) -> UInt64? {
        var hash: UInt64 = 0
        return unsafe ringmirror_dm_table_hash(disk.major, disk.minor, &hash) == 0 ? hash : nil
    }

    // MARK: Pins

    static func pin(_ descriptor: CInt, at path: String) throws(TrackingError) {
        let failure = unsafe path.withCString { unsafe ringmirror_bpf_pin(descriptor, $0) }
        guard failure == 0 else { throw error("pinning", path, failure) }
        guard unsafe chmod(path, 0o600) == 0 else { throw error("chmod", path, errno) }
    }

    static func openPin(at path: String) throws(Errno) -> Descriptor {
        let raw = unsafe path.withCString { unsafe ringmirror_bpf_open($0) }
        guard raw >= 0 else { throw Errno(rawValue: errno) }
        return Descriptor(raw)
    }

    static func isPinFilesystem(_ path: String) -> Bool {
        guard let place = try? SystemCalls.open(path, O_PATH) else { return false }
        var magic: Int64 = 0
        let failure = unsafe ringmirror_filesystem_magic(place.raw, &magic)
        return failure == 0 && magic & 0xffff_ffff == ringmirror_bpf_magic
    }

    static func mountPinFilesystem(at path: String) throws(Errno) {
        let failure = unsafe path.withCString { unsafe ringmirror_bpf_mount($0) }
        guard failure == 0 else { throw Errno(rawValue: failure) }
    }

    static func makeFolder(_ path: String) throws(Errno) {
        guard unsafe mkdir(path, 0o700) == 0 else { throw Errno(rawValue: errno) }
    }

    static func removeFile(_ path: String) throws(Errno) {
        guard unsafe unlink(path) == 0 else { throw Errno(rawValue: errno) }
    }

    static func removeFolder(_ path: String) throws(Errno) {
        guard unsafe rmdir(path) == 0 else { throw Errno(rawValue: errno) }
    }

    /// Whether this process has the folder for itself from now on.
    static func lock(_ folder: Descriptor) -> Bool { flock(folder.raw, LOCK_EX | LOCK_NB) == 0 }

    // MARK: The system

    /// The number of the block device at a path; nil: it is none.
    static func deviceNumber(of path: FilePath) throws(TrackingError) -> DeviceNumber? {
        var found = ringmirror_status()
        let failure = unsafe path.withPlatformString {
            unsafe ringmirror_status(-100, $0, 0, &found)
        }
        guard failure == 0 else {
            throw .system(call: "stat", path: path.string, code: Errno(rawValue: failure))
        }
        guard found.mode & S_IFMT == S_IFBLK else { return nil }
        return DeviceNumber(major: found.special_major, minor: found.special_minor)
    }

    static var kernelRelease: String {
        var name = utsname()
        guard unsafe uname(&name) == 0 else { return "" }
        return unsafe withUnsafeBytes(of: &name.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// Nanoseconds of a clock that only goes forward.
    static var monotonicTime: Int64 { time(of: CLOCK_MONOTONIC) }

    /// Nanoseconds since 1970.
    static var wallTime: Int64 { time(of: CLOCK_REALTIME) }

    private static func time(of clock: clockid_t) -> Int64 {
        var time = timespec()
        _ = unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private static func error(_ call: String, _ path: String, _ code: CInt) -> TrackingError {
        switch Errno(rawValue: code) {
        case .permissionDenied, .notPermitted: .notPermitted(call: "\(call) (\(path))")
        case let code: .system(call: call, path: path, code: code)
        }
    }
}

extension TrackerCalls {
    /// Reads from the beginning, past the page cache, and forgets what was read.
    static func readDirectly(_ file: Descriptor, count: Int) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 4096)
        defer { unsafe memory.deallocate() }
        _ = unsafe pread(file.raw, memory, count, 0)
    }

    static func sleep(milliseconds: Int) { usleep(UInt32(milliseconds) * 1000) }
}
