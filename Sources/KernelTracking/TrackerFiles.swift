internal import BlockStorage
internal import CBPF
internal import SystemPackage

/// The maps, programs and links of one tracker, open: what is not pinned ends with them.
struct TrackerFiles: Sendable {
    /// One of them, by the name that it has where it is pinned.
    struct Part: Hashable, Sendable {
        let name: String

        static let bits = Part(name: "bits")
        static let coarse = Part(name: "coarse")
        static let held = Part(name: "held")
        static let ever = Part(name: "ever")
        static let state = Part(name: "state")

        static let maps: [Part] = [.bits, .coarse, .held, .ever, .state]
        /// In this order they are attached.
        static let programs = copies("program")
        static let links = copies("link")
        static let all = maps + programs + links

        private static func copies(_ what: String) -> [Part] {
            ["request", "bio", "queue"].flatMap { event in
                (1...ringmirror_tracker_copies).map { Part(name: "\(event)_\(what)_\($0)") }
            }
        }
    }

    private var descriptors: [Part: Descriptor] = [:]

    /// Loads programs for one disk, which are attached to nothing yet.
    init(loading plan: ringmirror_tracker_plan) throws(TrackingError) {
        var plan = plan
        let loaded = TrackerCalls.load(&plan)
        let parts = Part.maps + Part.programs
        for (part, raw) in zip(parts, loaded.maps + loaded.programs) where raw >= 0 {
            descriptors[part] = Descriptor(raw)
        }
        switch loaded.code {
        case nil: return
        // The verifier says EACCES, and has said why.
        case .notPermitted?: throw .notPermitted(call: "bpf")
        case let code?: throw .notLoaded(code: code, log: loaded.log)
        }
    }

    /// Opens what was pinned.
    init(pinnedIn folder: PinFolder) throws(TrackingError) {
        for part in Part.all {
            descriptors[part] = try folder.open(part)
        }
    }

    /// The descriptor of a part; -1 if there is none, which every call refuses.
    subscript(part: Part) -> CInt { descriptors[part]?.raw ?? -1 }

    /// Attaches the programs.
    mutating func attach() throws(TrackingError) {
        for (program, link) in zip(Part.programs, Part.links) {
            descriptors[link] = try TrackerCalls.attach(self[program])
        }
    }
}
