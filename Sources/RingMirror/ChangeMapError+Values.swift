public import BlockStorage
public import ChangeMap

// Change maps know no disks, so that what their errors mean to a caller is said here.

extension ChangeMapError {
    /// What it means to a caller.
    public var category: ErrorCategory { .usage }

    /// Where in the file, in bytes; nil if that is not known.
    public var offset: Int64? {
        guard case .byte(let offset) = place else { return nil }
        return Int64(offset)
    }

    /// Which error it is, for programs.
    public var code: ErrorCode {
        switch kind {
        case .unrecognized: .mapUnrecognized
        case .ambiguous: .mapAmbiguous
        case .unsupported: .mapUnsupported
        case .option: .mapOption
        case .malformed: .mapMalformed
        case .misplaced: .mapMisplaced
        case .beyondDevice: .mapBeyondDevice
        case .untrustworthy: .mapUntrustworthy
        case .tooLarge: .mapTooLarge
        }
    }
}
