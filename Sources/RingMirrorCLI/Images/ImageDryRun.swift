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
        let disk = try open(changes: true)
        _ = try below(disk)
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
        let (layer, own) = try measureOverlay(keep: keep)
        // The chain above had the image below open for reading, with the locks of a reader.
        Signals.enter(.reading("opening \(layer.path)"))
        _ = try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                layer.path, format: layer.format, changesBitmaps: layer.format == .qcow2)
        }
        if layer.format == .raw { try requireWritable(layer.path) }
        tell(into: layer.path.string, size: own.size, bytes: own.dataBytes, zeros: own.zeroBytes)
    }

    private func requireWritable(_ path: FilePath) throws {
        guard !Files.isWritable(path) else { return }
        throw complaint.end(.refused(.readOnlyTarget(target: path, reason: "it can't be written")))
    }

    private func measureOverlay(
        keep: Bool
    ) throws -> (below: (path: FilePath, format: ImageFormat), own: Measurement) {
        let disk = try open(changes: !keep)
        let layer = try below(disk)
        let own = try complaint.perform { () throws(MirrorError) in try Measurement.top(of: disk) }
        return ((layer.path, layer.format), own)
    }

    private func open(changes: Bool) throws -> Disk {
        Signals.enter(.reading("opening \(overlay)"))
        return try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(overlay.path, format: .qcow2, changesBitmaps: changes)
        }
    }

    private func below(_ disk: Disk) throws -> Layer {
        guard let layers = disk.image?.layers, layers.count > 1 else {
            throw complaint.end(.imageLacks, "\(overlay): it has no backing file", .usage)
        }
        return layers[1]
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
