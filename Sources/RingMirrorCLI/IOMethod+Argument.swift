public import ArgumentParser
public import RingMirror

extension IOMethod: ExpressibleByArgument {
    /// What `--io` says of itself, the same in every command that has it.
    static var help: ArgumentHelp {
        ArgumentHelp(
            "How requests reach the kernel.",
            discussion: """
                auto takes io_uring where it works, and threads where it is forbidden, as in most \
                containers; uring is io_uring or nothing; threads is a small pool of threads.
                """, valueName: "method")
    }
}
