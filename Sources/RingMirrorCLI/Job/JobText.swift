/// Running jobs, for people.
enum JobText {
    /// Such as `full to /dev/sdb`.
    static func what(_ status: JobStatus) -> String {
        status.target.map { "\(status.command) \(status.joint) \($0)" } ?? status.command
    }

    /// Where the job is, such as `running` or `paused by an error`.
    static func state(_ status: JobStatus) -> String {
        status.pausedBy == nil ? status.phase : "\(status.phase) by an error"
    }

    /// Of all, what was done before included.
    static func percent(_ status: JobStatus) -> String {
        let saved = status.saved ?? 0
        return BitmapText.percent(saved + status.done, saved + status.planned)
    }

    static func rate(_ bytesPerSecond: Int64) -> String { "\(ByteSize.text(bytesPerSecond))/s" }

    static func limit(_ status: JobStatus) -> String {
        status.speedLimit.map { "at most \(rate($0))" } ?? "no limit"
    }

    /// All that is known of a job, a line each.
    static func lines(_ status: JobStatus) -> [String] {
        var lines = ["process \(status.pid): \(status.command), \(state(status))"]
        func add(_ name: String, _ value: String) {
            lines.append("  " + name + String(repeating: " ", count: 12 - name.count) + value)
        }
        if let error = status.pausedBy { add("waits for", error) }
        if let source = status.source {
            add(status.kind == "comparison" ? "first" : "source", source)
        }
        if let target = status.target {
            add(status.kind == "comparison" ? "second" : "target", target)
        }
        add("begun", Timestamp.text(status.startedAt))
        add("activity", status.activity)
        add("done", progress(status))
        if status.verbs.contains("speed") || status.speedLimit != nil {
            add("speed", limit(status))
        }
        if let live = status.live { for (name, value) in self.live(live) { add(name, value) } }
        add("can do", status.verbs.isEmpty ? "nothing" : status.verbs.joined(separator: ", "))
        return lines
    }

    private static func progress(_ status: JobStatus) -> String {
        let saved = status.saved ?? 0
        var fields = [
            percent(status),
            "\(ByteSize.text(saved + status.done)) of \(ByteSize.text(saved + status.planned))",
        ]
        if status.bytesPerSecond > 0 { fields.append(rate(status.bytesPerSecond)) }
        if let seconds = status.etaSeconds, status.done < status.planned, !status.paused {
            fields.append("\(ProgressLine.duration(seconds)) left")
        }
        return fields.joined(separator: ", ")
    }

    private static func live(_ live: JobStatus.Live) -> [(String, String)] {
        var lines: [(String, String)] = []
        if let passes = live.passes { lines.append(("passes", "\(passes)")) }
        if let dirty = live.dirtyBytes { lines.append(("dirty", ByteSize.text(dirty))) }
        if let dirty = live.dirtyBytesPerSecond, let copied = live.copyBytesPerSecond {
            lines.append(("rates", "\(rate(dirty)) become dirty, \(rate(copied)) are copied"))
        }
        if let pause = live.predictedPauseSeconds {
            lines.append(("pause", "the end would hold writers for \(Seconds.text(pause)) s"))
        }
        if let seconds = live.secondsToReady {
            lines.append(("ready in", ProgressLine.duration(seconds)))
        }
        if live.held == true { lines.append(("writers", "held back")) }
        return lines
    }

    /// Rows as lines, with columns as wide as what is in them.
    static func table(_ rows: [[String]]) -> [String] {
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            row.enumerated().map { column, cell in
                column == row.count - 1
                    ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }.joined(separator: "  ")
        }
    }
}

extension JobStatus {
    /// What stands between the command and its second side.
    fileprivate var joint: String { kind == "comparison" ? "with" : "to" }
}
