import ArgumentParser
import RingMirror

struct BitmapListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the bitmaps of a disk or image, and interrupted jobs.")

    @Argument(help: "The disk or image.", completion: .file()) var path: String
    @OptionGroup var options: BitmapOptions

    func run() throws {
        let device = try options.device(path)
        let path = options.store.path(for: device)
        let store: BitmapStore
        do throws(BitmapStoreError) {
            store = try BitmapStore.open(path, for: device.identity, access: .readOnly)
        } catch .notFound {
            if !options.output.quiet && !options.output.json {
                Output.line("\(device.path) has no bitmaps: there is no \(path)")
            }
            return
        } catch {
            throw options.complaint.end(error)
        }
        let (bitmaps, jobs) = try options.storing { () throws(BitmapStoreError) in
            (try store.bitmaps(), try store.jobs())
        }
        if options.output.json {
            for bitmap in bitmaps {
                Events.print(Events.Bitmap(bitmap, store: store.path.string))
            }
            for job in jobs { Events.print(Events.Job(job, store: store.path.string)) }
            return
        }
        Output.line("\(store.path), of \(ByteSize.text(device.geometry.size))")
        show(bitmaps)
        for job in jobs { Output.line(BitmapText.job(job)) }
        if bitmaps.isEmpty && jobs.isEmpty { Output.line("no bitmaps") }
    }

    private func show(_ bitmaps: [StoredBitmap]) {
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
    }
}
