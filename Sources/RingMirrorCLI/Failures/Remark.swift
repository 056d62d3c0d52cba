/// What is worth knowing and no failure, for programs: the `code` of a `warning` event. A contract;
/// see docs/json.md.
enum RemarkCode: String, Encodable, CaseIterable {
    /// Something about how a side can be read or written, or who else uses it.
    case device
    /// Something about what the mirror rests on.
    case mirror
    /// What makes the claim of a mirror weaker.
    case weakClaim
    /// The partition table that was copied counts in sectors of another size than the target's.
    case partitionTableSectors
    /// The backup of the partition table that was copied is not at the end of the larger target.
    case partitionTableBackup
    /// Bitmaps of the target were marked with what was written.
    case targetBitmapsMarked
    /// An interrupted job is resumed.
    case resumed
    /// An interrupted job could not be resumed, and all is copied again.
    case begunAnew
    /// The job waits until an error is fixed.
    case paused
    /// Something about bitmaps inside an image.
    case bitmaps
    /// An interrupted job was given up.
    case jobForgotten
    /// What a target of a bitmap lacks is no longer known.
    case targetForgotten
    /// The format of a change map was recognised by its content.
    case mapFormat
    /// Something about the content of a change map.
    case map
    /// Something that a job noticed on its way, such as a checkpoint that could not be recorded.
    case log
}

extension OutputOptions {
    /// Something that explains, and that nobody has to act upon.
    func note(_ code: RemarkCode, _ text: String) {
        remark(code, text, .note, isShown: !quiet)
    }

    /// Something that makes a claim weaker, or that somebody may have to act upon.
    func warn(_ code: RemarkCode, _ text: String) { remark(code, text, .warning, isShown: true) }

    private func remark(
        _ code: RemarkCode, _ text: String, _ severity: Message.Severity, isShown: Bool
    ) {
        if json { Events.print(Events.Warning(code, text, severity)) }
        if isShown { Message.say(text, severity) }
    }
}

extension Events {
    struct Warning: Encodable {
        let event = "warning"
        let code: RemarkCode
        let severity, message: String

        init(_ code: RemarkCode, _ message: String, _ severity: Message.Severity) {
            self.code = code
            self.message = VisibleText.line(message)
            self.severity = severity == .warning ? "warning" : "note"
        }
    }
}
