import Testing

@testable import Freezing

@Suite struct FreezingTests {}
