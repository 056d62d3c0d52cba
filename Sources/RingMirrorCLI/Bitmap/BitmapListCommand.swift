import ArgumentParser
import RingMirror

struct BitmapListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List bitmaps, their targets, and interrupted jobs.",
        usage: "ringmirror bitmap list <path> [<options>]",
        discussion: """
            For each target: when it was last a mirror, and how much it lacks.

            Examples:
              ringmirror bitmap list vm.img
              ringmirror bitmap list /dev/sda --json
            """)

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @OptionGroup var options: BitmapOptions

    func run() throws {
        let disk = try options.disk(path)
        guard let home = try options.homeOfAll(disk) else {
            guard !options.output.quiet && !options.output.json else { return }
            return Output.line(
                "\(disk.path) has no bitmaps: there is no \(options.store.path(for: disk))")
        }
        try tell(home, disk)
        // Those of a store beside an image are told apart from the image's own.
        guard case .image(_, _, let store?) = home else { return }
        let beside = BitmapHome.store(store, of: disk)
        let stored = try options.attempt { () throws(MirrorError) in try beside.bitmaps() }
        if !stored.isEmpty { tell(stored, in: beside, disk) }
    }

    private func tell(_ home: BitmapHome, _ disk: Disk) throws {
        let (bitmaps, jobs, remarks) = try options.attempt { () throws(MirrorError) in
            (try home.bitmaps(), try home.jobs(), try home.remarks())
        }
        for remark in remarks { options.output.warn(.bitmaps, remark) }
        tell(bitmaps, in: home, disk)
        if options.output.json {
            for job in jobs { Events.print(Events.Job(job, store: home.recordsPath.string)) }
            return
        }
        for job in jobs { Output.line(BitmapText.job(job)) }
        if bitmaps.isEmpty && jobs.isEmpty { Output.line("no bitmaps") }
    }

    private func tell(_ bitmaps: [BitmapFacts], in home: BitmapHome, _ disk: Disk) {
        if options.output.json {
            for bitmap in bitmaps {
                Events.print(Events.Bitmap(bitmap, store: home.path.string))
            }
            return
        }
        Output.line("\(home.path), of \(ByteSize.text(disk.geometry.size))")
        show(bitmaps)
    }

    private func show(_ bitmaps: [BitmapFacts]) {
        guard !bitmaps.isEmpty else { return }
        var rows = [["NAME", "GRANULARITY", "STATE", "DIRTY", "LAST MIRROR"]]
        for bitmap in bitmaps {
            rows.append([
                bitmap.name, "\(bitmap.granularity)", BitmapText.state(bitmap),
                BitmapText.dirty(bitmap), BitmapText.lastMirror(bitmap),
            ])
        }
        let widths = (0..<5).map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = row.enumerated().map { column, cell in
                column == 4
                    ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            Output.line(cells.joined(separator: "  "))
        }
        for bitmap in bitmaps {
            for target in bitmap.targets {
                for (number, line) in BitmapText.target(target).enumerated() {
                    Output.line(number == 0 ? "target of '\(bitmap.name)': \(line)" : line)
                }
            }
        }
    }
}
