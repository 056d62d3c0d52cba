import ArgumentParser
import RingMirror

/// Finds out what a job inside a chain of images would do, and does nothing of it.
struct ImageDryRun {
    let command: String
    let overlay: PathArgument
    let output: OutputOptions

    private var complaint: Complaint { Complaint(output: output) }

    /// What `stream` would copy: what the images below have, down to `base`, and the overlay does
    /// not.
    func stream(base: PathArgument?) throws {
        Signals.enter(.reading("opening \(overlay)"))
        let disk = try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(overlay.path, format: .qcow2, changesBitmaps: true)
        }
        guard let layers = disk.image?.layers, layers.count > 1 else {
            throw complaint.end(.imageLacks, "\(overlay): it has no backing file", .usage)
        }
        try complaint.perform { () throws(MirrorError) in
            let own = try Measurement.top(of: disk)
            var all = try Measurement.full(of: disk)
            if let base { all = try Measurement.top(of: disk, base: base.path) }
            tell(
                into: disk.path.string, size: own.size,
                bytes: max(0, all.dataBytes - own.dataBytes),
                zeros: base == nil ? 0 : max(0, all.zeroBytes - own.zeroBytes))
        }
    }

    /// What `commit` would copy into the image below.
    func commit(keep: Bool) throws {
        Signals.enter(.reading("opening \(overlay)"))
        let (own, target, warnings) = try complaint.perform { () throws(MirrorError) in
            try CommitJob.rehearse(overlay.path, keepsOverlay: keep)
        }
        for warning in warnings { output.warn(.device, warning) }
        tell(into: target.string, size: own.size, bytes: own.dataBytes, zeros: own.zeroBytes)
    }

    private func tell(into target: String, size: Int64, bytes: Int64, zeros: Int64) {
        if output.json {
            Events.print(
                Events.DryRun(
                    command: command, source: "\(overlay)", target: target, wouldCreate: false,
                    overwrites: [], size: size, planned: bytes + zeros, read: bytes,
                    zeroed: zeros, required: nil))
            return
        }
        guard !output.quiet else { return }
        Output.line("dry run: nothing was written")
        Output.line(
            "\(ByteSize.text(bytes)) would be copied into \(target), and \(ByteSize.text(zeros)) "
                + "made zero there")
    }
}
