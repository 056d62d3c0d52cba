internal import Glibc

/// What is left of the memory that a process may map: by the limits of its address space and of its
/// data (`ulimit -v`, `-d`), and by what the system has.
enum AddressSpace {
    /// What a job allocates besides buffers and stacks. Swift ends the process where that is
    /// refused, so that buffers and threads, which can be refused, leave this much.
    static let reserve = 8 << 20

    /// Whether so many bytes and the reserve can be mapped now.
    static func hasRoom(for bytes: Int) -> Bool {
        guard let start = unsafe map(bytes + reserve) else { return false }
        unsafe munmap(start, bytes + reserve)
        return true
    }

    /// The limits that are set, for messages; empty if there are none.
    static var limitText: String {
        [("address space", RLIMIT_AS, "v"), ("data", RLIMIT_DATA, "d")].compactMap {
            (what, resource, letter) in
            var limit = rlimit()
            guard unsafe getrlimit(resource, &limit) == 0, limit.rlim_cur != .max else {
                return nil
            }
            return ", where the limit of the \(what) is \(limit.rlim_cur >> 10) KiB "
                + "(ulimit -\(letter))"
        }.joined()
    }

    /// Maps memory that is zero when it is first touched; nil and `errno` where it is refused.
    static func map(_ bytes: Int) -> UnsafeMutableRawPointer? {
        let start = unsafe mmap(
            nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        return unsafe start == MAP_FAILED ? nil : start
    }
}
