/// How a job ended, as its user is told.
enum Ending: Sendable, Equatable {
    /// The job has done what it was to do, and claims this of the target.
    case success(Claim)
    /// Refused before the first byte was written.
    case refused(String)
    /// It can't be carried out as given.
    case unusable(String)
    case failed(String)
    case interrupted
    /// The process is dead, and nobody was told anything.
    case killed

    /// What is said of a target after a success.
    struct Claim: Sendable, Equatable {
        let kind: String
        /// Whether the words say that it rests on more than what was copied or compared.
        let isConditional: Bool
    }

    var isSuccess: Bool { if case .success = self { true } else { false } }

    var text: String {
        switch self {
        case .success(let claim): "success: \(claim.kind)"
        case .refused(let why): "refused: \(why)"
        case .unusable(let why): "unusable: \(why)"
        case .failed(let why): "failed: \(why)"
        case .interrupted: "interrupted"
        case .killed: "killed"
        }
    }
}

/// Carries out what a history says by ringmirror, in one of its two forms.
protocol Rig {
    var files: Files { get }
    /// Makes the source, with two bitmaps.
    func make(_ bytes: [UInt8]) throws
    /// The source's bytes, read without ringmirror.
    func source() -> [UInt8]
    /// A write to the source.
    ///
    /// - Parameter marking: the bitmaps that are to hear of it.
    /// - Returns: what was written, and the bitmaps that did hear of it.
    func write(
        _ bytes: [UInt8], at offset: Int, marking: Set<Int>, _ trace: Trace
    ) throws -> (written: [Range<Int>], heard: Set<Int>)
    func run(_ job: Job, meanwhile: @escaping @Sendable () -> Void) throws -> Ending
    func restore(from target: Int, _ surroundings: Surroundings) throws -> Ending
    func setRecording(_ bitmap: Int, _ isOn: Bool) throws
    /// - Returns: whether what its targets lack by that is kept.
    func clear(_ bitmap: Int) throws -> Bool
    func readd(_ bitmap: Int) throws
    /// Takes all bitmaps away and begins with new ones.
    func startAnew() throws
}

extension Rig {
    static func target(_ number: Int) -> String { "t\(number).img" }

    /// As nobody should write: into the image's file, where it has clusters.
    func writeBehindFormat(_ bytes: [UInt8], at offset: Int, _ trace: Trace) -> [Range<Int>] {
        let name = "s.qcow2"
        guard let file = files.read(name), let image = ImageReader(file) else { return [] }
        var written: [Range<Int>] = []
        for at in stride(from: offset, to: offset + bytes.count, by: 512) {
            guard let place = image.place(of: at / image.clusterSize) else { continue }
            let part = Array(bytes[(at - offset)..<(at - offset + 512)])
            files.write(name, part, at: place + at % image.clusterSize, trace)
            written.append(at..<at + 512)
        }
        return written
    }
}

/// What should not have happened, in words.
struct Unexpected: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
