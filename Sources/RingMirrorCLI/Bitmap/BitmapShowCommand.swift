import ArgumentParser
import RingMirror

struct BitmapShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show how much of a bitmap is dirty, and where.",
        usage: "ringmirror bitmap show <path> <name> [<options>]",
        discussion: """
            A picture of four lines shows the disk from its first to its last byte.

            Examples:
              ringmirror bitmap show vm.img nightly
            """)

    @OptionGroup var one: OneBitmap

    func run() throws {
        let (name, options) = (one.name, one.options)
        let home = try one.open(.readOnly)
        let facts = try options.attempt { () throws(MirrorError) in try home.bitmap(name) }
        let bits = try options.attempt { () throws(MirrorError) in try home.load(name) }
        let runs = DirtyRuns(bits)
        if options.output.json {
            Events.print(Events.Bitmap(facts, store: home.path.string, runs: runs))
            return
        }
        var rows = [
            ("bitmap", "\(name) in \(home.path)"),
            ("size", "\(facts.size) bytes (\(ByteSize.text(facts.size)))"),
            ("granularity", "\(facts.granularity), \(bits.granuleCount) granules"),
            ("state", BitmapText.state(facts)),
            (
                "dirty",
                "\(facts.dirtyBytes) bytes in \(facts.dirtyCount) granules ("
                    + BitmapText.percent(facts.dirtyBytes, facts.size) + ")"
            ),
        ]
        if runs.count > 0 {
            rows.append(
                (
                    "runs", "\(runs.count), the largest \(ByteSize.text(runs.largest))"
                ))
        }
        if let time = facts.createdAt { rows.append(("added", Timestamp.text(time))) }
        rows.append(("last mirror", BitmapText.lastMirror(facts)))
        for target in facts.targets {
            let lines = BitmapText.target(target)
            rows += lines.enumerated().map { ($0 == 0 ? "target" : "", $1) }
        }
        let width = rows.map(\.0.count).max() ?? 0
        for (title, value) in rows {
            Output.line(title + String(repeating: " ", count: width - title.count) + "  " + value)
        }
        for line in DirtyPicture.lines(of: bits) { Output.line(line) }
    }
}

/// How the dirty bytes of a bitmap are spread.
struct DirtyRuns {
    private(set) var count = 0
    private(set) var largest: Int64 = 0

    init(_ bits: borrowing DirtyBitmap) {
        var count = 0
        var largest: Int64 = 0
        bits.forEachDirtyRun { run in
            count += 1
            largest = max(largest, Int64(run.count))
        }
        self.count = count
        self.largest = largest
    }
}
