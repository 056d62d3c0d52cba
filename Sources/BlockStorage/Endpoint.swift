package import Ring

/// What requests about one file of a side go to.
package enum Endpoint: Sendable {
    /// A descriptor of a file or disk, which stays open as long as the map that names it lives.
    case file(CInt)
    /// Something with a driver of its own, such as a connection. Each queue has one made for it, on
    /// its thread.
    case driver(@Sendable () throws(RingError) -> any EndpointDriver)
}
