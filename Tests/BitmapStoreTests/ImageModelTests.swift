import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// Bitmaps that an image keeps itself, and what the store knows of their targets.
@Suite struct ImageModelTests {
    @Test(arguments: [(40_100, 9), (40_100, 10), (40_100, 12), (1, 9), (5_000, 31)])
    func `the store and the image do what the model does, and no target loses a bit`(
        size: Int, shift: Int
    ) throws {
        var random = RandomTest.generator(defaultSeed: UInt64(size + shift))
        let twin = try ImageTwin(size: size, shift: shift)
        for step in 0..<RandomTest.events(default: 800) {
            let before = twin.model
            let operation = twin.anything(&random)
            twin.disk.startRecording()
            let (expected, found) = try twin.apply(operation)
            let place = "step \(step): \(operation); \(random.replay)"
            let state = try Snapshot.read(twin.disk)
            guard expected == found, state.withoutWitnesses == twin.model.state else {
                Issue.record(
                    """
                    \(place): \(expected ?? "done") and \(found ?? "done")
                    expected:\n\(twin.model.state)
                    found:\n\(state)
                    """)
                return
            }
            #expect(twin.image == twin.model.marks, "\(place)")
            let flaw = expected == nil ? twin.flaw(after: operation, before) : nil
            guard flaw == nil else {
                Issue.record("\(place): \(flaw ?? "")\n\(before.state)\nnow:\n\(state)")
                return
            }
            try checkKills(twin, before, place)
            try checkTargets(twin, place)
        }
    }

    /// A process may be killed at any write of the store: the next one finds what was before or
    /// what came after, beside an image that has not been cleared yet.
    private func checkKills(_ twin: ImageTwin, _ before: ImageModel, _ place: String) throws {
        for count in 0..<twin.disk.events.count {
            let state = try Snapshot.read(twin.disk.afterKill(before: count)).withoutWitnesses
            #expect(
                state == before.state || state == twin.model.state,
                "\(place), killed before call \(count)")
        }
    }

    private static let size = 8 * 512

    private func begin(
        _ store: BitmapStore, _ mode: BitmapMode, to target: String, _ marks: [Int]
    ) throws -> StoreJob {
        var request = JobRequest(
            mode: .incremental, bitmap: .image("b"), bitmapMode: mode, source: try store.device(),
            sourcePath: "s", target: disk(target, size: Self.size), targetPath: FilePath(target))
        request.allowsUnknownTarget = true
        return try store.beginJob(request, imageMarks: ModelBits(marks).bitmap())
    }

    @Test(arguments: BitmapMode.allCases)
    func `what the job to another target cleared in the image, a resumed job still copies`(
        mode: BitmapMode
    ) throws {
        let (_, store) = try makeStore(disk("source", size: Self.size))
        // A job to one target ends halfway.
        let first = try begin(store, mode, to: "x", [0, 1])
        try first.checkpoint(ModelBits([1]).bitmap())
        var cleared = ModelBits(optional: try first.finish(.failure))
        #expect(cleared == ModelBits(mode == .always ? [0] : []))
        // A virtual machine writes, and the job to another target takes what it marked.
        let marks = mode == .always ? [1, 5] : [0, 1, 5]
        let second = try begin(store, .onSuccess, to: "y", marks)
        cleared = ModelBits(optional: try second.finish(.success))
        #expect(cleared == ModelBits(marks))
        // The first one goes on.
        let nothing = ModelBits([])
        let resumed = try store.resumeJob(first.record.id, imageMarks: nothing.bitmap())
        #expect(ModelBits(try resumed.loadRemaining()).contains(ModelBits([1, 5])))
        #expect(ModelBits(optional: try resumed.finish(.success)) == nothing)
        // Neither lacks anything, and neither was forgotten.
        let targets = try store.targets(of: .image("b"), imageMarks: nothing.bitmap())
        #expect(targets.map(\.path) == ["y", "x"])
        #expect(targets.allSatisfy { $0.lackedBytes == 0 })
    }

    @Test
    func `what one interrupted job clears when it is resumed, the other still copies`() throws {
        let (_, store) = try makeStore(disk("source", size: Self.size))
        let first = try begin(store, .onSuccess, to: "x", [0])
        try first.finish(.failure, remaining: ModelBits([]).bitmap())
        let second = try begin(store, .onSuccess, to: "y", [0])
        try second.finish(.failure, remaining: ModelBits([]).bitmap())
        let again = try store.resumeJob(second.record.id, imageMarks: ModelBits([0, 7]).bitmap())
        #expect(ModelBits(optional: try again.finish(.success)) == ModelBits([0, 7]))
        let last = try store.resumeJob(first.record.id, imageMarks: ModelBits([]).bitmap())
        #expect(ModelBits(try last.loadRemaining()).contains(ModelBits([7])))
    }

    @Test
    func `what something else took away is seen, also where a job died that had taken it`() throws {
        let (_, store) = try makeStore(disk("source", size: Self.size))
        var job: StoreJob? = try begin(store, .always, to: "x", [0, 1])
        try job?.checkpoint(ModelBits([]).bitmap())
        let id = try #require(job?.record.id)
        job = nil
        // All that was settled is durable on the target, and was not cleared in the image yet.
        let nothing = ModelBits([])
        #expect(throws: BitmapStoreError.bitmapRemade(name: "b")) {
            try store.resumeJob(id, imageMarks: nothing.bitmap())
        }
        #expect(throws: BitmapStoreError.bitmapRemade(name: "b")) {
            try store.targets(of: .image("b"), imageMarks: nothing.bitmap())
        }
        let next = try begin(store, .always, to: "x", [])
        #expect(next.forgottenTargets.map(\.path) == ["x"])
    }

    @Test func `a job that goes on while the image's bitmap takes no marks says so`() throws {
        let (_, store) = try makeStore(disk("source", size: Self.size))
        let job = try begin(store, .onSuccess, to: "x", [0])
        try job.finish(.failure)
        #expect(try !store.jobs()[0].isUnrecorded)
        let marks = ModelBits([0])
        let again = try store.resumeJob(
            job.record.id, job.record.again { $0.isImageBitmapRecording = false },
            imageMarks: marks.bitmap())
        try again.finish(.failure)
        #expect(try store.jobs()[0].isUnrecorded)
    }

    /// What reading says is what a job would find.
    private func checkTargets(_ twin: ImageTwin, _ place: String) throws {
        if twin.model.isRemade {
            #expect(throws: BitmapStoreError.bitmapRemade(name: "b"), "\(place)") {
                try twin.known()
            }
            return
        }
        for target in try twin.known() {
            var copy = twin.model
            guard copy.running == nil else { continue }
            let refusal = copy.apply(
                .begin(
                    .incremental, .never, target: target.path.string, working: nil, vouched: false))
            #expect(refusal == nil, "\(place)")
            #expect(
                copy.jobs.last?.remaining.dirtyBytes == target.lackedBytes,
                "\(place): \(target.path)")
        }
    }
}

extension ModelBits {
    /// Of eight granules of 512 bytes, these.
    fileprivate init(_ granules: [Int]) {
        self.init(size: 8 * 512, shift: 9)
        for granule in granules { bits[granule] = true }
    }

    fileprivate init(optional bitmap: consuming DirtyBitmap?) {
        switch bitmap {
        case .some(let bitmap): self.init(bitmap)
        case nil: self.init([])
        }
    }
}

extension Snapshot {
    /// Those of this test have none.
    fileprivate var withoutWitnesses: Snapshot {
        var copy = self
        for place in copy.jobs.indices { copy.jobs[place].witness = nil }
        return copy
    }
}
