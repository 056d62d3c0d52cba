import Glibc
import SystemPackage

/// What the process was started with, besides its arguments.
enum Environment {
    /// The user that the process runs as.
    static var user: uid_t { geteuid() }

    /// A path in a variable, byte for byte; nil if that is missing or empty.
    static func path(_ name: String) -> FilePath? {
        guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
        return unsafe FilePath(platformString: value)
    }

    /// Why there is no room for what a job can do without; nil if there is enough.
    static var shortage: String? {
        if let limit = limit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue)), limit < 128 {
            return "the process may have \(limit) open files (ulimit -n)"
        }
        for (resource, option) in [(RLIMIT_AS, "-v"), (RLIMIT_DATA, "-d")] {
            guard let limit = limit(__rlimit_resource_t(resource.rawValue)), limit < 1 << 30
            else { continue }
            return "the process may have \(limit) bytes of memory (ulimit \(option))"
        }
        return nil
    }

    private static func limit(_ resource: __rlimit_resource_t) -> UInt? {
        var limit = rlimit()
        return unsafe getrlimit(resource, &limit) == 0 ? limit.rlim_cur : nil
    }
}
