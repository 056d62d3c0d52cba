/// What a ring got of the things it asked for. Everything here is optional for being correct, and
/// worth telling when it is missing, because it costs speed.
public struct RingSetup: Sendable, Equatable {
    /// The buffers are pinned once instead of for each request.
    public let registeredBuffers: Bool
    /// Why not, where not.
    public let plainBuffersReason: String?
    /// The files are looked up once instead of for each request.
    public let registeredFiles: Bool
    /// Completions are processed only when the ring's thread asks for them, which saves wake-ups.
    public let deferredTaskRun: Bool
}
