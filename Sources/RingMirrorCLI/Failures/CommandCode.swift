/// What went wrong with the command itself, for programs: the `code` of an `error` event that the
/// library has none for. A contract, as `ErrorCode` is; see docs/json.md.
enum CommandCode: String, CaseIterable {
    case commandLine, mapUnreadable, outputExists, outputUnwritable, outputLost
    case severalJobs, jobUnanswered, wrongPhase, wrongKind, askedBefore, requestRefused
}
