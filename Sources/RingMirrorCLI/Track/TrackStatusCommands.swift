import ArgumentParser
import RingMirror

struct TrackListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the disks that the kernel tracks.",
        usage: "ringmirror track list [<options>]",
        discussion: """
            Examples:
              ringmirror track list --json
            """)

    @OptionGroup var output: OutputOptions

    func run() throws {
        let complaint = Complaint(output: output)
        let trackers = try complaint.perform { () throws(MirrorError) in try DiskTracking.all() }
        if output.json {
            for tracker in trackers { Events.print(Events.Tracker(tracker)) }
            return
        }
        guard !trackers.isEmpty else { return Output.line("no disk is tracked") }
        for tracker in trackers {
            Output.line(
                "\(tracker.path): \(ByteSize.text(tracker.size))"
                    + (tracker.granularity.map { ", \($0) a mark" } ?? "")
                    + (tracker.problem.map { ", can't be used: \($0.problem)" } ?? ""))
        }
    }
}

struct TrackStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what the kernel has marked of a disk.",
        usage: "ringmirror track status <disk> [<options>]",
        discussion: """
            What is marked comes to the bitmaps with the next command that works on one of them.

            Examples:
              ringmirror track status /dev/sda
            """)

    @OptionGroup var options: TrackOptions

    func run() throws {
        let disk = try options.open()
        let tracking = try options.tracking(of: disk)
        let status = try options.complaint.perform { () throws(MirrorError) in
            try tracking.status()
        }
        guard let status else {
            if options.output.json { return Events.print(Events.TrackingStatus(disk, nil)) }
            return Output.line("\(disk.path) is not tracked")
        }
        if options.output.json { return Events.print(Events.TrackingStatus(disk, status)) }
        let names = status.bitmaps.map { "'\($0)'" }.joined(separator: ", ")
        Output.line(
            "\(disk.path) is tracked for "
                + (status.bitmaps.isEmpty ? "no bitmap of its store" : names))
        Output.line(
            "  \(ByteSize.text(status.dirtyBytes)) marked and in no bitmap yet, "
                + "\(status.granularity) a mark")
        Output.line(
            "  \(ByteSize.text(status.writtenBytes)) written since it began, "
                + "\(ByteSize.text(status.inFlightBytes)) in flight")
        for loss in status.losses { Output.line("  lost: \(loss)") }
    }
}
