/// A file in memory whose machine can lose its power, or a process that dies over it.
///
/// `content` is what processes see (the page cache), `durable` what was there at the last sync,
/// `pending` what happened since.
public struct VolatileFile: Sendable {
    /// What happens to the file.
    public enum Event: Sendable {
        /// The file grows if need be.
        case write(offset: Int, bytes: [UInt8])
        /// Where it grows there are zeros.
        case resize(Int)
        case sync
        /// What was to be written is written or lost, by chance, and never tried again: the kernel
        /// takes it for written. Processes go on seeing it.
        case failedSync(seed: UInt64)
        /// The test's own: something has been promised from here on.
        case mark(Int)
    }

    /// A disk writes so many bytes whole or not at all.
    private static let sectorBytes = 512

    fileprivate struct State: Sendable {
        var content: [UInt8]
        var durable: [UInt8]
        var pending: [Event] = []
    }

    private var state: State
    private var stateAtStart: State
    /// Everything since the last `startRecording`, or since the file was made.
    public private(set) var events: [Event] = []

    public var content: [UInt8] { state.content }
    public var durable: [UInt8] { state.durable }
    public var pending: [Event] { state.pending }

    /// A file with durable content.
    public init(_ content: [UInt8] = []) { self.init(State(content: content, durable: content)) }

    private init(_ state: State) {
        self.state = state
        stateAtStart = state
    }

    public mutating func startRecording() {
        events = []
        stateAtStart = state
    }

    public mutating func perform(_ event: Event) {
        state.apply(event)
        events.append(event)
    }

    /// As the next process finds it after one was killed before its `count`-th recorded event.
    public func afterKill(before count: Int) -> VolatileFile {
        var state = stateAtStart
        for event in events.prefix(count) { state.apply(event) }
        return VolatileFile(state)
    }

    /// What is there after the power was cut now, if of the pending events just those came to the
    /// disk whose bits are set in `pattern`.
    public func afterPowerCut(keeping pattern: Int) -> [UInt8] {
        var result = state.durable
        for (number, event) in state.pending.enumerated() where pattern >> number & 1 == 1 {
            result.apply(event)
        }
        return result
    }

    /// What may be there after the power was cut now, if about `percent` in a hundred of what is
    /// pending came to the disk: every change of the length is there or lost, and every write is
    /// there, lost, or torn, with each of its sectors there or lost.
    public func afterPowerCut(percent: Int, using random: inout SeededGenerator) -> [UInt8] {
        var result = state.durable
        for event in state.pending { Self.keepSome(event, in: &result, percent, &random) }
        return result
    }

    fileprivate static func keepSome(
        _ event: Event, in content: inout [UInt8], _ percent: Int, _ random: inout SeededGenerator
    ) {
        guard case .write(let offset, let bytes) = event, random.chance(percent: 50) else {
            if random.chance(percent: percent) { content.apply(event) }
            return
        }
        var start = 0
        while start < bytes.count {
            let sectorEnd = ((offset + start) / sectorBytes + 1) * sectorBytes - offset
            let end = min(sectorEnd, bytes.count)
            if random.chance(percent: percent) {
                content.write(bytes[start..<end], at: offset + start)
            }
            start = end
        }
    }
}

extension VolatileFile.State {
    fileprivate mutating func apply(_ event: VolatileFile.Event) {
        switch event {
        case .write, .resize:
            content.apply(event)
            pending.append(event)
        case .sync:
            // Not all of `content`: what a sync that failed has lost stays lost.
            for event in pending { durable.apply(event) }
            pending = []
        case .failedSync(let seed):
            var random = SeededGenerator(seed: seed)
            for event in pending { VolatileFile.keepSome(event, in: &durable, 50, &random) }
            pending = []
        case .mark: break
        }
    }
}

extension [UInt8] {
    fileprivate mutating func apply(_ event: VolatileFile.Event) {
        switch event {
        case .write(let offset, let bytes): write(bytes[...], at: offset)
        case .resize(let length): resize(to: length)
        case .sync, .failedSync, .mark: break
        }
    }

    fileprivate mutating func write(_ bytes: ArraySlice<UInt8>, at offset: Int) {
        let end = offset + bytes.count
        if count < end { resize(to: end) }
        replaceSubrange(offset..<end, with: bytes)
    }

    fileprivate mutating func resize(to length: Int) {
        if length < count {
            removeLast(count - length)
        } else {
            append(contentsOf: repeatElement(0, count: length - count))
        }
    }
}
