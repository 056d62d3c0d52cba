/// How the jobs of many histories ended: a test in which everything is refused shows nothing.
struct Tally {
    private(set) var endings: [String: Int] = [:]
    /// Successes after which something differs that nobody could have known.
    var excused = 0

    mutating func count(_ job: Job, _ ending: Ending) {
        let word = ending.text.prefix { $0 != ":" }
        endings["\(job.isResumed ? "resumed" : job.mode.rawValue) \(word)", default: 0] += 1
    }

    mutating func add(_ other: Tally) {
        endings.merge(other.endings, uniquingKeysWith: +)
        excused += other.excused
    }

    var text: String {
        endings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            .joined(separator: ", ") + ", excused \(excused)"
    }
}
