import Glibc
import Testing

@testable import Ring

/// Making a ring where something is missing.
@Suite struct SetupTests {
    @Test func `everything that can be had is had, and told`() throws {
        let file = try ScratchFile(byteCount: 0)
        let ring = try Ring(
            depth: 4, files: [file.descriptor], buffers: BufferSlab(byteCount: 1))
        let setup = ring.setup
        #expect(setup.registeredFiles)
        #expect(setup.registeredBuffers == (setup.plainBuffersReason == nil))
        let withoutFiles = try Ring(depth: 4, files: [], buffers: BufferSlab(byteCount: 1))
        let without = withoutFiles.setup
        #expect(!without.registeredFiles)
    }

    @Test(
        arguments: [
            (ENOSYS, RingError.notSupported), (ENOMEM, .outOfMemory),
            (EMFILE, .systemCall("io_uring_setup", code: EMFILE)),
            (EINVAL, .systemCall("io_uring_setup", code: EINVAL)),
            (EPERM, RingCore.refusal(of: EPERM, disabledText: sysctlText)),
            (EACCES, RingCore.refusal(of: EPERM, disabledText: sysctlText)),
        ])
    func `a refused io_uring_setup is an error that says why`(code: CInt, expected: RingError)
        throws
    {
        try TestThread {
            try #require(SystemCallFilter.fail(SystemCallFilter.ioUringSetup, with: code))
            let failure = #expect(throws: RingError.self) {
                _ = try Ring(depth: 1, files: [], buffers: BufferSlab(byteCount: 1))
            }
            #expect(failure == expected)
        }.join()
    }

    static let sysctlText = readSmallFile("/proc/sys/kernel/io_uring_disabled")

    @Test(arguments: [ENOMEM, EOPNOTSUPP, EPERM])
    func `with no registration at all, a ring is slower and right`(code: CInt) throws {
        try TestThread {
            try #require(SystemCallFilter.fail(SystemCallFilter.ioUringRegister, with: code))
            try checkRandomTransfers(registeredFiles: false, rounds: 5)
            let ring = try Ring(depth: 1, files: [0], buffers: BufferSlab(byteCount: 1))
            let setup = ring.setup
            #expect(!setup.registeredBuffers)
            let reason = setup.plainBuffersReason ?? ""
            #expect(reason.contains(code == ENOMEM ? "ulimit -l" : errorText(code)), "\(reason)")
            let canRead = ring.supports(.read)
            #expect(canRead, "a probe that is refused says nothing about operations")
        }.join()
    }

    @Test(arguments: [EAGAIN, EBUSY, ENXIO])
    func `a submission that the kernel refuses for good ends in an error`(code: CInt) throws {
        try TestThread {
            var ring = try Ring(depth: 2, files: [], buffers: BufferSlab(byteCount: 1))
            try #require(SystemCallFilter.fail(SystemCallFilter.ioUringEnter, with: code))
            ring.enqueue(.nop, token: 1)
            var failure: RingError?
            do throws(RingError) {
                try ring.submitAndWait(minimum: 1, timeoutNanoseconds: 1_000_000)
            } catch {
                failure = error
            }
            ring.forsake()
            #expect(failure == .systemCall("io_uring_enter", code: code))
        }.join()
    }

    @Test func `files that can't be registered are used by their descriptors`() async {
        await #expect(processExitsWith: .success) {
            // The table of files may have as many entries as the process may have files.
            var limit = rlimit(rlim_cur: 1024, rlim_max: 1024)
            try #require(setrlimit(__rlimit_resource(7), &limit) == 0)  // RLIMIT_NOFILE
            try #require(becomeUnprivileged())
            try checkRandomTransfers(registeredFiles: false, rounds: 5)
        }
    }
}

/// Memory that may not be locked.
@Suite struct MemoryLockTests {
    @Test func `buffers that may not be locked are used unregistered, and why is said`() async {
        await #expect(processExitsWith: .success) {
            try #require(setMemoryLock(soft: 64 << 10, hard: 1 << 20))
            try #require(becomeUnprivileged())
            let ring = try Ring(depth: 2, files: [0], buffers: BufferSlab(byteCount: 4 << 20))
            let setup = ring.setup
            #expect(!setup.registeredBuffers)
            #expect(
                setup.plainBuffersReason
                    == "the memlock limit is below 4 MiB (ulimit -l); raise it for less CPU time")
            #expect(setup.registeredFiles)
            try checkRandomTransfers(registeredFiles: true, rounds: 5)
        }
    }

    @Test(.enabled(if: memoryLock().rlim_max >= 8 << 20, "needs a hard memlock limit of 8 MiB"))
    func `the soft limit is raised as far as is needed`() async {
        await #expect(processExitsWith: .success) {
            try #require(setMemoryLock(soft: 64 << 10, hard: memoryLock().rlim_max))
            try #require(becomeUnprivileged())
            let ring = try Ring(depth: 2, files: [], buffers: BufferSlab(byteCount: 2 << 20))
            let setup = ring.setup
            #expect(setup.registeredBuffers)
            #expect(setup.plainBuffersReason == nil)
            #expect(memoryLock().rlim_cur == (64 << 10) + (2 << 20))
            // One ring's limit is not taken for the next one's.
            let second = try Ring(depth: 2, files: [], buffers: BufferSlab(byteCount: 2 << 20))
            let secondSetup = second.setup
            #expect(secondSetup.registeredBuffers)
        }
    }

    @Test func `raising stops at the hard limit, and never lowers or overflows`() async {
        await #expect(processExitsWith: .success) {
            try #require(setMemoryLock(soft: 1 << 20, hard: 3 << 20))
            try #require(becomeUnprivileged())
            MemoryLock.raise(toFit: 1 << 20)
            #expect(memoryLock().rlim_cur == 2 << 20)
            MemoryLock.raise(toFit: 1 << 30)
            #expect(memoryLock().rlim_cur == 3 << 20)
            MemoryLock.raise(toFit: .max)
            #expect(memoryLock().rlim_cur == 3 << 20)
            #expect(memoryLock().rlim_max == 3 << 20)
        }
    }

    @Test(.enabled(if: memoryLock().rlim_max == .max, "the hard memlock limit is not unlimited"))
    func `an unlimited process stays so`() async {
        await #expect(processExitsWith: .success) {
            try #require(setMemoryLock(soft: .max, hard: .max))
            MemoryLock.raise(toFit: 1 << 20)
            #expect(memoryLock().rlim_cur == .max)
        }
    }
}

/// What errors say.
@Suite struct RingErrorTests {
    static let remedies: [(RingError, [String])] = [
        (.notSupported, ["no io_uring", "Linux 5.11", "CONFIG_IO_URING"]),
        (.kernelTooOld(missing: "a wheel"), ["lacks a wheel", "Linux 5.11"]),
        (
            .disabled(sysctl: 2),
            ["kernel.io_uring_disabled=2", "sysctl kernel.io_uring_disabled=0"]
        ),
        (.disabled(sysctl: 1), ["kernel.io_uring_disabled=1", "kernel.io_uring_group"]),
        (.forbidden, ["seccomp", "io_uring_setup", "io_uring_enter", "io_uring_register"]),
        (.outOfMemory, ["memory", "ulimit -l"]),
        (
            .noBufferMemory(bytes: 64 << 20, needed: 74 << 20, code: ENOMEM),
            ["64 MiB", "74 MiB", "Cannot allocate", "raise the limit"]
        ),
        (.systemCall("io_uring_enter", code: EBADF), ["io_uring_enter", "Bad file descriptor"]),
    ]

    @Test(arguments: remedies)
    func `a description names the cause and the remedy`(error: RingError, parts: [String]) {
        for part in parts { #expect("\(error)".contains(part), "\(error)") }
    }

    @Test func `only the group's users are told of the group`() {
        #expect(!"\(RingError.disabled(sysctl: 2))".contains("io_uring_group"))
    }

    static let refusals: [(CInt, String?, RingError)] = [
        (EPERM, nil, .forbidden), (EPERM, "", .forbidden), (EPERM, "0\n", .forbidden),
        (EPERM, "1\n", .disabled(sysctl: 1)), (EPERM, "2\n", .disabled(sysctl: 2)),
        (EACCES, "2\n", .disabled(sysctl: 2)), (EPERM, "x", .forbidden),
        (ENOSYS, "2\n", .notSupported), (ENOMEM, nil, .outOfMemory),
        (EMFILE, "0\n", .systemCall("io_uring_setup", code: EMFILE)),
    ]

    @Test(arguments: refusals)
    func `a refusal is told by its errno and the sysctl`(
        code: CInt, disabledText: String?, expected: RingError
    ) {
        #expect(RingCore.refusal(of: code, disabledText: disabledText) == expected)
    }

    @Test(arguments: [0, EIO, 12345, -1])
    func `an errno has a text, known or not`(code: CInt) {
        #expect(!errorText(code).isEmpty)
    }
}

/// Root may lock any amount; the tests above are about everybody else. The kernel
/// counts locked memory by user, so each process becomes one of its own, where there are enough.
func becomeUnprivileged() -> Bool {
    if getuid() != 0 { return true }
    let nobody: uid_t = 65534
    return setgid(nobody) == 0
        && (setuid(100_000 + uid_t(getpid())) == 0 || setuid(nobody) == 0)
}

private func setMemoryLock(soft: UInt, hard: UInt) -> Bool {
    var limit = rlimit(rlim_cur: soft, rlim_max: hard)
    return setrlimit(memoryLockResource, &limit) == 0
}

private func memoryLock() -> rlimit {
    var limit = rlimit()
    getrlimit(memoryLockResource, &limit)
    return limit
}

/// RLIMIT_MEMLOCK, which Swift does not import.
private let memoryLockResource = __rlimit_resource(8)
