/// How the jobs of many histories ended: a test in which everything is refused shows nothing.
struct Tally {
    private(set) var endings: [String: Int] = [:]
    /// Successes after which something differs that nobody could have known.
    var excused = 0
    private(set) var histories = 0

    mutating func count(_ job: Job, _ ending: Ending) {
        let word = ending.text.prefix { $0 != ":" }
        endings["\(Self.name(of: job)) \(word)", default: 0] += 1
        if case .success(let claim) = ending { endings["claim \(claim.kind)", default: 0] += 1 }
    }

    private static func name(of job: Job) -> String {
        job.isResumed ? "resumed" : job.mode.rawValue
    }

    mutating func add(_ other: Tally) {
        endings.merge(other.endings, uniquingKeysWith: +)
        excused += other.excused
        histories += 1
    }

    /// How many in a hundred of these jobs succeeded.
    func successes(of name: String) -> Int {
        let all = endings.filter { $0.key.hasPrefix(name + " ") }.reduce(0) { $0 + $1.value }
        return endings["\(name) success", default: 0] * 100 / max(all, 1)
    }

    var text: String {
        endings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            .joined(separator: ", ") + ", excused \(excused)"
    }
}
