/// How a job's requests reach the kernel.
public enum IOMethod: String, Sendable, Equatable, CaseIterable {
    /// io_uring where it works, else threads.
    case automatic = "auto"
    /// io_uring or nothing.
    case uring
    /// A small pool of threads, each with one system call at a time.
    case threads
}
