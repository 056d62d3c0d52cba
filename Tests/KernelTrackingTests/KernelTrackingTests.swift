import Testing

@testable import KernelTracking

@Suite struct KernelTrackingTests {}
