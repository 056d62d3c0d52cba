import ArgumentParser

struct RingMirrorCommand: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "ringmirror",
        abstract:
            "Copy disks and images, in full or only what changed (raw and qcow2, by io_uring).",
        discussion: """
            A mirror is a copy made once: ringmirror does not keep two disks in step by itself.

            Start with:
              ringmirror info /dev/nvme0n1                  what is this disk?
              ringmirror full /dev/nvme0n1 /dev/nvme1n1     copy a whole disk
              ringmirror full disk.img copy.img --create    the same for image files
              ringmirror compare disk.img copy.img          are they identical?
              ringmirror bitmap diff disk.img copy.img --into nightly    what differs?
              ringmirror incremental disk.img copy.img --bitmap nightly  copy only that

            Exit codes: 0 done; 1 the job failed, and the target is not a mirror; 2 the command \
            can't be carried out as given; 3 refused by a safety check, nothing was written; 4 a \
            comparison found a difference; 130 interrupted.
            """,
        version: "ringmirror \(version)",
        subcommands: [
            FullCommand.self, TopCommand.self, IncrementalCommand.self, LiveCommand.self,
            TrackCommand.self, CompareCommand.self,
            BitmapCommand.self, StreamCommand.self, CommitCommand.self, MeasureCommand.self,
            InfoCommand.self, JobCommand.self, BenchCommand.self,
        ])
}
