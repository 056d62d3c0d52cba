import RingMirror

/// An error as it is told: to people in words, to programs by its code.
struct Failure {
    /// The raw value of an `ErrorCode` or a `CommandCode`.
    let code: String
    let message: String
    let path: String?
    /// Where in the file or disk, in bytes.
    let offset: Int64?
    /// What to do about it; the message has that, too.
    let remedy: String?
    let exit: Exit

    private init(
        code: String, _ message: String, path: String?, offset: Int64? = nil, remedy: String?,
        _ exit: Exit
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.offset = offset
        self.remedy = remedy.flatMap { $0.isEmpty ? nil : $0 }
        self.exit = exit
    }

    /// A failure of the library's kinds that the command line has found itself.
    init(
        _ code: ErrorCode, _ problem: String, remedy: String? = nil, path: FilePath? = nil,
        _ exit: Exit
    ) {
        self.init(
            code: code.rawValue, Self.message(problem, remedy), path: path?.string, remedy: remedy,
            exit)
    }

    /// A failure of the command itself.
    init(
        _ code: CommandCode, _ problem: String, remedy: String? = nil, path: FilePath? = nil,
        _ exit: Exit
    ) {
        self.init(
            code: code.rawValue, Self.message(problem, remedy), path: path?.string, remedy: remedy,
            exit)
    }

    init(_ error: some DescribedError) {
        self.init(
            code: error.code.rawValue, error.told, path: error.path?.string, offset: error.offset,
            remedy: error.remedy.text(\.command), Exit(error.category))
    }

    init(_ error: StorageError) {
        guard let mistake = error.unsupportedName else {
            self.init(described: error)
            return
        }
        self.init(.unsupportedName, mistake.problem, remedy: mistake.remedy, .usage)
    }

    init(_ error: MirrorError) {
        guard case .storage(let error) = error else {
            self.init(described: error)
            return
        }
        self.init(error)
    }

    init(_ error: ChangeMapError) {
        let failure = Failure(
            code: error.code.rawValue, error.description, path: error.file, offset: error.offset,
            remedy: error.remedy, Exit(error.category))
        guard case .option(let option) = error.kind else {
            self = failure
            return
        }
        let name =
            switch option {
            case .blockSize: "--map-block-size"
            case .thinDevice: "--map-thin-device"
            case .peer: "--map-peer"
            }
        self = failure.adding("The option is `\(name)`.")
    }

    private init(described error: any DescribedError) { self.init(error) }

    /// The same failure, told otherwise; what to do about it stays.
    func told(_ message: String, path: FilePath? = nil, _ exit: Exit) -> Failure {
        Failure(
            code: code, message, path: path?.string ?? self.path, offset: offset, remedy: remedy,
            exit)
    }

    /// The same failure with one more way on.
    func adding(_ way: String) -> Failure {
        Failure(
            code: code, "\(message) \(way)", path: path, offset: offset,
            remedy: [remedy, way].compactMap(\.self).joined(separator: " "), exit)
    }

    private static func message(_ problem: String, _ remedy: String?) -> String {
        guard let remedy else { return problem }
        let isSentence = problem.last.map { ".?!".contains($0) } == true
        return isSentence ? "\(problem) \(remedy)" : "\(problem). \(remedy)"
    }
}

extension StorageError {
    /// What to say of a name that was never meant to be that of a file.
    fileprivate var unsupportedName: (problem: String, remedy: String)? {
        let path: FilePath
        switch self {
        case .notFound(let found), .refused(.missingWithoutCreate(let found)): path = found
        default: return nil
        }
        return PathArgument.unsupportedName(path.string)
    }
}
