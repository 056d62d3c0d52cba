import Testing

@testable import MirrorEngine

/// Every phase with every other, and with every verb.
@Suite struct JobPhaseTests {
    /// A line for each phase, with the phases that may follow on it: itself aside, a row is what
    /// `successors` has to say.
    private static let transitions: [(JobPhase, Set<JobPhase>)] = [
        (.created, [.running, .paused, .settling, .ended]),
        (.running, [.paused, .ready, .completing, .flushing, .settling, .ended]),
        (.paused, [.running, .flushing, .settling, .ended]),
        (.ready, [.running, .standby, .completing, .flushing, .settling, .ended]),
        (.standby, [.ready, .flushing, .settling, .ended]),
        (.completing, [.running, .flushing, .settling, .ended]),
        (.flushing, [.running, .ready, .verifying, .settling, .ended]),
        (.verifying, [.settling, .ended]),
        (.settling, [.ended]),
        (.ended, []),
    ]

    private static let verbs: [JobVerb] = [.pause, .resume, .cancel, .complete, .setSpeed(1)]

    /// What each verb makes of a phase; nil: it is refused.
    private static func result(of verb: JobVerb, in phase: JobPhase) -> JobPhase? {
        switch (verb, phase) {
        case (_, .ended), (_, .settling): nil
        case (.cancel, _): phase
        case (.setSpeed, .flushing), (.setSpeed, .verifying): nil
        case (.setSpeed, _): phase
        case (.pause, .created), (.pause, .running), (.pause, .paused): .paused
        case (.pause, .ready), (.pause, .standby): .standby
        case (.pause, _): nil
        case (.resume, .paused): .running
        case (.resume, .standby): .ready
        case (.resume, .created), (.resume, .running), (.resume, .ready): phase
        case (.resume, _): nil
        // It takes effect when the writers are held back, which the job does itself.
        case (.complete, .ready), (.complete, .running): phase
        case (.complete, _): nil
        }
    }

    @Test func `each phase has its successors`() {
        #expect(Self.transitions.map(\.0) == JobPhase.allCases)
        for (phase, successors) in Self.transitions {
            #expect(Set(phase.successors) == successors, "\(phase)")
            #expect(phase.successors.count == successors.count, "\(phase)")
        }
    }

    /// The end is reached from everywhere, and left to nowhere. So is what comes before it.
    @Test func `each job can end`() {
        for phase in JobPhase.allCases where phase != .ended {
            #expect(phase.successors.contains(.ended), "\(phase)")
            #expect(phase == .settling || phase.successors.contains(.settling), "\(phase)")
        }
    }

    /// The shortest way to a phase, by what jobs do themselves.
    private func control(in phase: JobPhase) -> JobControl {
        let control = JobControl(speedLimit: nil)
        switch phase {
        case .created: break
        case .running: control.start()
        case .paused: control.pause()
        case .flushing:
            control.start()
            control.beginFlush()
        case .verifying:
            control.start()
            control.beginFlush()
            control.beginVerification()
        case .settling: control.settle()
        case .ended: control.end()
        case .ready, .standby, .completing:
            control.start()
            control.becomeReady()
            if phase == .standby { control.pause() }
            if phase == .completing { #expect(control.beginCompletion()) }
        }
        return control
    }

    @Test func `each verb does what its table says, or is refused without an effect`() {
        for phase in JobPhase.allCases {
            for verb in Self.verbs {
                let expected = Self.result(of: verb, in: phase)
                #expect(phase.allows(verb) == (expected != nil), "\(verb) in \(phase)")
                let control = control(in: phase)
                #expect(control.phase == phase)
                do throws(JobVerbError) {
                    try control.apply(verb)
                    #expect(control.phase == expected, "\(verb) in \(phase)")
                    #expect(control.isStopping == (verb == .cancel), "\(verb) in \(phase)")
                    #expect((control.speed.bytesPerSecond == 1) == (verb == .setSpeed(1)))
                } catch {
                    #expect(expected == nil && control.phase == phase, "\(error)")
                    #expect(!control.isStopping && control.speed.bytesPerSecond == nil)
                    #expect(error == JobVerbError(verb: verb, phase: phase))
                }
            }
        }
    }

    @Test func `an end is asked for once`() throws {
        let control = JobControl(speedLimit: nil)
        control.start()
        try control.apply(.complete)
        #expect(control.isAskedToComplete && control.phase == .running)
        #expect(throws: JobVerbError(verb: .complete, phase: .running, isRepeated: true)) {
            try control.apply(.complete)
        }
    }

    @Test func `a job that was paused before it began waits when it begins`() {
        let control = JobControl(speedLimit: nil)
        control.pause()
        control.start()
        #expect(control.phase == .paused && control.isPaused)
        control.resume()
        control.start()
        #expect(control.phase == .running)
    }

    /// Signals come at any time.
    @Test func `verbs that come too late do nothing`() {
        let control = JobControl(speedLimit: nil)
        control.start()
        control.beginFlush()
        control.pause()
        control.resume()
        #expect(control.phase == .flushing && control.pausedBy == nil)
        control.beginVerification()
        control.pause()
        control.resume()
        #expect(control.phase == .verifying && control.pausedBy == nil)
        control.settle()
        control.beginVerification()
        control.pause()
        #expect(control.phase == .settling && control.pausedBy == nil)
        control.end()
        control.beginFlush()
        control.beginVerification()
        control.settle()
        control.start()
        #expect(control.phase == .ended)
    }
}
