import TestSupport

/// A sequence of steps, and what it must not come to.
struct History {
    let seed: UInt64
    let kind: SourceKind
    let setting: Setting
    let steps: [Step]

    init(seed: UInt64, kind: SourceKind) {
        self.seed = seed
        self.kind = kind
        var maker = StepMaker(seed: seed, source: kind)
        setting = maker.setting
        steps = maker.steps()
    }

    /// What went wrong, after which step.
    struct Fault: Error {
        let what: String
        let step: Int
    }

    typealias MakeRig = (Files, SourceKind, Scratch) -> any Rig

    /// Runs steps in a folder of their own; the first thing that went wrong, or nil.
    func fault(
        of steps: [Step], in parent: String, _ tally: inout Tally, _ makeRig: MakeRig
    ) -> Fault? {
        var index = 0
        do {
            let scratch = try Scratch(in: parent)
            let files = Files(folder: scratch.path)
            var play = Play(setting, makeRig(files, kind, scratch), files)
            defer { tally.add(play.tally) }
            try play.rig.make([UInt8](repeating: 0, count: setting.size))
            for step in steps {
                try play.perform(step)
                index += 1
            }
            return nil
        } catch {
            return Fault(what: "\(error)", step: index)
        }
    }

    /// The same fault in as few steps as can be had by leaving some out.
    func shrunk(_ fault: Fault, in parent: String, _ makeRig: MakeRig) -> (steps: [Step], Fault) {
        var best = (steps: Array(steps.prefix(fault.step + 1)), fault: fault)
        var isSmaller = true
        var ignored = Tally()
        while isSmaller {
            isSmaller = false
            for index in best.steps.indices.reversed() {
                guard index < best.steps.count else { continue }
                var fewer = best.steps
                fewer.remove(at: index)
                guard let found = self.fault(of: fewer, in: parent, &ignored, makeRig),
                    found.what.prefix(12) == best.fault.what.prefix(12)
                else { continue }
                best = (Array(fewer.prefix(found.step + 1)), found)
                isSmaller = true
            }
        }
        return best
    }

    /// A fault by the fewest steps.
    func story(of fault: Fault, in parent: String, _ makeRig: MakeRig) -> String {
        let (steps, least) = shrunk(fault, in: parent, makeRig)
        let list = steps.enumerated().map { "  \($0.offset + 1). \($0.element)" }
        return """
            \(kind.rawValue) source of \(setting.size) bytes, RINGMIRROR_SEED=\(seed): \
            \(least.what)
            \(list.joined(separator: "\n"))
            """
    }
}
