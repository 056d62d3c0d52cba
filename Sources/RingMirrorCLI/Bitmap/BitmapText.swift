import RingMirror

/// Facts about bitmaps and jobs, for people.
enum BitmapText {
    static func dirty(_ bitmap: BitmapFacts) -> String {
        if bitmap.state == .inconsistent { return "not known" }
        guard bitmap.dirtyBytes > 0 else { return "nothing dirty" }
        return
            "\(ByteSize.text(bitmap.dirtyBytes)) dirty (\(percent(bitmap.dirtyBytes, bitmap.size)))"
    }

    /// Never rounded to 0 or 100 if it is not that.
    static func percent(_ part: Int64, _ whole: Int64) -> String {
        guard whole > 0 else { return "0 %" }
        if part == whole { return "100 %" }
        let hundredths = Int64(Double(part) / Double(whole) * 10000)
        if hundredths == 0 { return part == 0 ? "0 %" : "< 0.01 %" }
        if hundredths >= 1000 { return "\(min(hundredths / 100, 99)) %" }
        return Seconds.fixed(Double(hundredths) / 100, digits: 2) + " %"
    }

    static func state(_ bitmap: BitmapFacts) -> String {
        if let holder = bitmap.holder { return "busy: \(holder)" }
        return bitmap.isInterrupted
            ? "\(bitmap.state.rawValue), interrupted" : bitmap.state.rawValue
    }

    static func lastMirror(_ bitmap: BitmapFacts) -> String {
        guard let last = bitmap.lastSuccess else { return "none yet" }
        return "\(Timestamp.text(last.time)) to \(last.targetPath)"
    }

    /// When it was a mirror, and what a job to it would copy; then a line for what it was taken for
    /// on trust.
    static func target(_ target: StoredTarget) -> [String] {
        let since =
            target.lastSuccess.map { "a mirror at \(Timestamp.text($0.time))" }
            ?? "not a mirror yet"
        let lack = target.lackedBytes == 0 ? "nothing" : ByteSize.text(target.lackedBytes)
        return ["\(target.path): \(since), lacks \(lack)"]
            + target.doubts.map { "  not proven: \($0.text)" }
    }

    static func job(_ job: StoredJob) -> String {
        let what =
            job.bitmap.map { "\(job.mode.rawValue) mirror by '\($0.name)'" }
            ?? "\(job.mode.rawValue) mirror"
        let done =
            "\(ByteSize.text(job.planned - job.remainingBytes)) of \(ByteSize.text(job.planned))"
        return job.isRunning
            ? "running: \(what) to \(job.targetPath) in \(job.holder), \(done) at the last "
                + "checkpoint"
            : "interrupted: \(what) to \(job.targetPath), begun \(Timestamp.text(job.startedAt)), "
                + "\(done) done; --resume continues"
    }
}
