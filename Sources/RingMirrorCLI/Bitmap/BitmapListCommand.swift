import ArgumentParser
import RingMirror

struct BitmapListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the bitmaps of a disk or image, and interrupted jobs.")

    @Argument(help: "The disk or image.", completion: .file()) var path: PathArgument
    @OptionGroup var options: BitmapOptions

    func run() throws {
        let disk = try options.disk(path)
        let store = try store(of: disk)
        if options.store.file == nil, let own = disk.bitmaps {
            try tell(.image(own, records: store), jobs: store, disk)
        } else if let store {
            try tell(.store(store), jobs: store, disk)
        } else if !options.output.quiet && !options.output.json {
            Output.line(
                "\(disk.path) has no bitmaps: there is no \(options.store.path(for: disk))")
        }
    }

    /// Nil if there is none.
    private func store(of disk: Disk) throws -> BitmapStore? {
        do throws(BitmapStoreError) {
            return try BitmapStore.open(
                options.store.path(for: disk), for: disk.identity, access: .readOnly)
        } catch .notFound {
            return nil
        } catch {
            throw options.complaint.end(error)
        }
    }

    private func tell(_ home: BitmapHome, jobs store: BitmapStore?, _ disk: Disk) throws {
        let bitmaps = try options.attempt { () throws(MirrorError) in try home.bitmaps() }
        let jobs = try options.attempt { () throws(MirrorError) in
            try store.map { (store) throws(MirrorError) in try BitmapHome.store(store).jobs() }
                ?? []
        }
        let remarks = try options.attempt { () throws(MirrorError) in try home.remarks() }
        for remark in remarks { options.output.warn(.bitmaps, remark) }
        if options.output.json {
            for bitmap in bitmaps {
                Events.print(Events.Bitmap(bitmap, store: home.path.string))
            }
            guard let store else { return }
            for job in jobs { Events.print(Events.Job(job, store: store.path.string)) }
            return
        }
        Output.line("\(home.path), of \(ByteSize.text(disk.geometry.size))")
        show(bitmaps)
        for job in jobs { Output.line(BitmapText.job(job)) }
        if bitmaps.isEmpty && jobs.isEmpty { Output.line("no bitmaps") }
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
                Output.line("target of '\(bitmap.name)': \(BitmapText.target(target))")
            }
        }
    }
}
