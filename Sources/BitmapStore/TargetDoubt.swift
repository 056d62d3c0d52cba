internal import BlockStorage

/// Why it isn't proven that a target held the mirror that a bitmap goes on from.
///
/// It stays with the target until all of that was copied or compared: each later increment rests on
/// it as much as the first one did.
public struct TargetDoubt: Hashable, Sendable {
    /// What was taken on trust. The raw values are part of the file format and of JSON.
    public enum Kind: String, Sendable, CaseIterable {
        /// The caller answered for it that the target held the mirror.
        case vouched
        /// No mirror to the target was recorded, nor one to any other by this bitmap.
        case assumed
        /// Whether something else had written the target could not be told.
        case unseen
        /// The target's names, owner or times had been changed, which can hide a write.
        case touched
        /// The caller answered for it that the target was zero where zeros were not written.
        case zeros
        /// Whether the source was written without a mark could not be told.
        case sourceUnseen
        /// The source's names, owner or times had been changed, which can hide a write.
        case sourceTouched
        /// The source had been written, and nothing was marked: a job was refused for it, and what
        /// was marked later is taken for all of that.
        case missed
        /// A target of the bitmap differed from the source where nothing says so: a job was refused
        /// for it.
        case differed
        /// The source was written while it was copied: the copy mixes points in time, which the
        /// next job mends if all of that was marked.
        case mixed
        /// The store is from a version that recorded nothing of the kind.
        case unrecorded
    }

    /// What was taken on trust.
    public let kind: Kind
    /// When the job began that did so, in seconds since 1970; nil: not recorded.
    public let time: Int64?
    /// In how many places of a sample the target was the same as the source then.
    public let samplePlaces: Int

    init(_ kind: Kind, samplePlaces: Int = 0, at time: Int64?) {
        self.kind = kind
        self.time = time
        self.samplePlaces = samplePlaces
    }

    static let placesMax = 1 << 20

    /// The same as a phrase.
    public var text: String {
        let when = time.map { "on \(UTCTime(seconds: $0).toTheSecond) " } ?? ""
        let sample = samplePlaces == 0 ? "" : " (\(samplePlaces) places of a sample were the same)"
        let what =
            switch kind {
            case .vouched:
                "you said that the target held the mirror that the bitmap goes on from\(sample)"
            case .assumed:
                "the target was taken for a mirror though none to it was recorded\(sample)"
            case .unseen:
                "it could not be told whether something else had written the target"
            case .touched:
                "the target's names, owner or times had been changed, which can hide a write"
            case .zeros: "you said that the target was zero where zeros were not written"
            case .sourceUnseen:
                "it could not be told whether the source was written without a mark"
            case .sourceTouched:
                "the source's names, owner or times had been changed, which can hide a write"
            case .missed:
                "the source had been written and nothing was marked: what was marked later is "
                    + "taken for all of it"
            case .differed: "a target differed from the source where nothing was marked"
            case .mixed:
                "the source was written while it was copied, so that the copy mixes points in time"
            case .unrecorded:
                "an earlier version, which did not record whether it was proven, took the target "
                    + "for a mirror"
            }
        return when + what + ", and never since was all of it copied or compared"
    }
}

extension [TargetDoubt] {
    init(_ kinds: Set<TargetDoubt.Kind>, samplePlaces: Int = 0, at time: Int64) {
        self = kinds.sorted { $0.rawValue < $1.rawValue }
            .map { TargetDoubt($0, samplePlaces: samplePlaces, at: time) }
    }

    /// One of each kind, the first.
    func adding(_ later: [TargetDoubt]) -> [TargetDoubt] {
        self + later.filter { doubt in !contains { $0.kind == doubt.kind } }
    }

    mutating func add(_ kind: TargetDoubt.Kind, at time: Int64) {
        self = adding([TargetDoubt(kind, at: time)])
    }
}

extension JobRequest {
    /// What is in doubt if the job begins now.
    ///
    /// - Parameter isKnown: to its bitmap, as a target.
    func doubts(at now: Int64, isKnown: Bool) -> [TargetDoubt] {
        var kinds = doubts
        if mode == .incremental, let sourceDoubt { kinds.insert(sourceDoubt) }
        if mode == .incremental, hasMissedWrite { kinds.insert(.missed) }
        if mode == .incremental && bitmap != nil && !isKnown {
            kinds.insert(allowsUnknownTarget ? .vouched : .assumed)
        }
        return [TargetDoubt](kinds, samplePlaces: samplePlaces, at: now)
    }
}

extension JobEntry {
    /// What is in doubt of its target when it has settled.
    ///
    /// - Parameter known: what was before. A full job takes nothing of what was there for a mirror.
    func doubts(onTopOf known: [TargetDoubt]) -> [TargetDoubt] {
        mode == .full ? doubts : known.adding(doubts)
    }
}

// MARK: As bytes

extension [TargetDoubt] {
    /// One field for each, numbered from 1.
    var encoded: FieldWriter {
        var fields = FieldWriter()
        for (index, doubt) in enumerated() { fields.put(UInt16(index + 1), doubt.encoded) }
        return fields
    }
}

extension TargetDoubt {
    fileprivate var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, kind.rawValue)
        fields.put(2, time)
        fields.put(3, UInt32(samplePlaces))
        return fields
    }

    fileprivate init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...3, in: "doubt")
        let places = try need(try fields.number(3, as: UInt32.self), "the places of a sample")
        guard places <= Self.placesMax else { throw .damaged("a sample of \(places) places") }
        self.init(
            try need(try fields.word(1), "a doubt"), samplePlaces: Int(places),
            at: try fields.number(2))
    }
}

extension FieldReader {
    /// - Returns: nil if there is no such field.
    func doubts(_ tag: UInt16) throws(FieldError) -> [TargetDoubt]? {
        guard let list = try fields(tag) else { return nil }
        var result: [TargetDoubt] = []
        for field in try list.numbered("doubt") {
            result.append(try TargetDoubt(decoding: field))
        }
        return result
    }
}

extension TargetDoubt {
    /// What is in doubt where an earlier version did not record it. What a full mirror has written
    /// was copied whole.
    static func unrecorded(_ mode: JobMode?, at time: Int64?) -> [TargetDoubt] {
        mode == .full ? [] : [TargetDoubt(.unrecorded, at: time)]
    }
}
