import RingMirror

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
    /// What a process that has ended still has on its way is waited for.
    case waiting
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
    /// A job of another process does not answer.
    case jobUnanswered
    /// Something that a job noticed on its way, such as a checkpoint that could not be recorded.
    case log
}

extension OutputOptions {
    /// Nothing is wrong, and there is nothing to be done. Quiet commands leave it out.
    func note(_ code: RemarkCode, _ text: String) {
        Remark(code, text, .note).say(json: json, quiet: quiet)
    }

    /// The result may be another one than expected: its content, its safety, or how long it takes.
    /// Quiet commands say it too.
    func warn(_ code: RemarkCode, _ text: String) {
        Remark(code, text, .warning).say(json: json, quiet: quiet)
    }

    /// What is worth knowing about disks that were opened.
    func tellAbout(_ disks: Disk...) {
        warnAbout(disks)
        for disk in disks {
            for note in disk.notes { self.note(.device, note) }
        }
    }

    /// What makes disks weaker than one may expect. Two disks may share files, and what is said of
    /// both is said once.
    func warnAbout(_ disks: [Disk]) {
        var said: Set<String> = []
        for warning in disks.flatMap(\.warnings) where said.insert(warning).inserted {
            warn(.device, warning)
        }
    }
}

/// A note or a warning.
struct Remark {
    private let code: RemarkCode
    private let text: String
    private let severity: Message.Severity

    init(_ code: RemarkCode, _ text: String, _ severity: Message.Severity) {
        self.code = code
        self.text = text
        self.severity = severity
    }

    func say(json: Bool, quiet: Bool) {
        if json { Events.print(Events.Warning(code, text, severity)) }
        if severity == .warning || !quiet { Message.say(text, severity) }
    }

    /// Lets the library say that it waits, whichever command is run.
    static func listenForWaits() {
        StorageWait.observe { text in
            Remark(.waiting, text, .note).say(
                json: ProcessArguments.wantsJSON, quiet: ProcessArguments.wantsQuiet)
        }
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
