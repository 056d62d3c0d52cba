/// What a change map can't say itself, or says more than once.
public struct ChangeMapOptions: Sendable {
    /// The format, where it can't be recognised or shouldn't be; nil to go by the content.
    public var format: ChangeMapFormat?

    /// Bytes per block, above 0; only era needs it, whose file doesn't say.
    public var blockSize: Int64?

    /// Which device of a thin pool, by its `dev_id`; nil if there is only one.
    public var thinDevice: Int?

    /// Which peer of DRBD, by its node id; nil if there is only one.
    public var peer: Int?

    /// Options that leave all to the content of the file, but for those that are given.
    public init(
        format: ChangeMapFormat? = nil, blockSize: Int64? = nil, thinDevice: Int? = nil,
        peer: Int? = nil
    ) {
        self.format = format
        self.blockSize = blockSize
        self.thinDevice = thinDevice
        self.peer = peer
    }
}
