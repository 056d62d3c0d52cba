import ArgumentParser

struct RingMirrorCommand: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "ringmirror",
        abstract:
            "Mirrors disks and images, raw and qcow2, at the speed of the hardware (io_uring).",
        discussion: """
            Start with:
              ringmirror info /dev/nvme0n1                  what is this disk?
              ringmirror full /dev/nvme0n1 /dev/nvme1n1     copy a whole disk
              ringmirror full disk.img copy.img --create    the same for image files
              ringmirror compare /dev/nvme0n1 /dev/nvme1n1  are they identical?
              ringmirror bitmap add disk.img nightly        what changes from now on?
              ringmirror incremental disk.img copy.img --bitmap nightly   move only that
              ringmirror top overlay.qcow2 copy.img         move only what one image has

            Exit codes: 0 done; 1 the job failed, and the target is not a mirror; 2 the command \
            can't be carried out as given; 3 refused by a guard, nothing was written; 4 a \
            comparison found a difference; 130 interrupted.
            """,
        version: "ringmirror \(version)",
        subcommands: [
            FullCommand.self, TopCommand.self, IncrementalCommand.self, CompareCommand.self,
            BitmapCommand.self, StreamCommand.self, CommitCommand.self, MeasureCommand.self,
            InfoCommand.self, BenchCommand.self,
        ])
}
