extension MirrorJob {
    /// Bytes a second at most, as the options or `setSpeed` had it last; nil for no limit.
    public var speedLimit: Int64? { control.speed.bytesPerSecond }
}
