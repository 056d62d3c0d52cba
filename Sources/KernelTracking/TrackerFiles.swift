internal import BlockStorage
internal import CBPF
internal import SystemPackage

/// The maps, programs and links of one tracker, open: what is not pinned ends with them.
struct TrackerFiles: Sendable {
    enum Part: String, CaseIterable {
        case bits, coarse, held, ever, state
        case requestProgram = "request_program"
        case bioProgram = "bio_program"
        case queueProgram = "queue_program"
        // In this order they are attached, and the other way round they go.
        case requestLink = "request_link"
        case bioLink = "bio_link"
        case queueLink = "queue_link"

        static let maps: [Part] = [.bits, .coarse, .held, .ever, .state]
        static let programs: [Part] = [.requestProgram, .bioProgram, .queueProgram]
        static let links: [Part] = [.requestLink, .bioLink, .queueLink]
    }

    private var descriptors: [Part: Descriptor] = [:]

    /// Loads programs for one disk, which are attached to nothing yet.
    init(loading plan: ringmirror_tracker_plan) throws(TrackingError) {
        var plan = plan
        var files = Self.none
        let loading = TrackerCalls.load(&plan, &files)
        let places: [(Part, CInt)] = [
            (.bits, files.bits), (.coarse, files.coarse), (.held, files.held), (.ever, files.ever),
            (.state, files.state), (.requestProgram, files.request_program),
            (.bioProgram, files.bio_program), (.queueProgram, files.queue_program),
        ]
        for (part, raw) in places where raw >= 0 { descriptors[part] = Descriptor(raw) }
        switch loading.code {
        case nil: return
        case .permissionDenied?, .notPermitted?: throw .notPermitted(call: "bpf")
        case let code?: throw .notLoaded(code: code, log: loading.log)
        }
    }

    /// Opens what was pinned.
    init(pinnedIn folder: PinFolder) throws(TrackingError) {
        for part in Part.allCases {
            descriptors[part] = try folder.open(part)
        }
    }

    private static var none: ringmirror_tracker_files {
        ringmirror_tracker_files(
            bits: -1, coarse: -1, held: -1, ever: -1, state: -1, queue_program: -1,
            bio_program: -1, request_program: -1, queue_link: -1, bio_link: -1, request_link: -1)
    }

    /// The descriptor of a part; -1 if there is none, which every call refuses.
    subscript(part: Part) -> CInt { descriptors[part]?.raw ?? -1 }

    /// Attaches the programs.
    mutating func attach() throws(TrackingError) {
        var files = Self.none
        files.queue_program = self[.queueProgram]
        files.bio_program = self[.bioProgram]
        files.request_program = self[.requestProgram]
        let failure = unsafe ringmirror_tracker_attach(&files)
        let places: [(Part, CInt)] = [
            (.requestLink, files.request_link), (.bioLink, files.bio_link),
            (.queueLink, files.queue_link),
        ]
        for (part, raw) in places where raw >= 0 { descriptors[part] = Descriptor(raw) }
        guard failure == 0 else {
            throw .system(call: "attaching", path: "bpf", code: Errno(rawValue: failure))
        }
    }

    /// How often the kernel skipped one of the programs.
    func misses() throws(TrackingError) -> Int64 {
        var misses: Int64 = 0
        for part in Part.programs {
            misses += Int64(clamping: try TrackerCalls.program(self[part]).misses)
        }
        return misses
    }
}
