import Testing

/// Runs each test once for every kind of queue: the engine is the same, and so is what it promises.
struct EveryQueue: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func scopeProvider(for test: Test, testCase: Test.Case?) -> Self? {
        testCase == nil ? nil : self
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        for kind in SimulatedKernel.QueueKind.allCases {
            try await SimulatedKernel.QueueKind.$current.withValue(kind) { try await function() }
        }
    }
}

extension Trait where Self == EveryQueue {
    static var everyQueue: Self { Self() }
}
