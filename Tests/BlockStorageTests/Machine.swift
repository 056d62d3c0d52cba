import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// What the tests of real devices need, and the reason that is given where it is missing.
enum Machine {
    static let canUseLoops = LoopDevice.isAvailable
    static let needsLoops: Comment = "needs root, losetup and /dev/loop-control"

    static func has(_ tools: String...) -> Bool {
        canUseLoops && tools.allSatisfy { Shell.has($0) }
    }
}

let mebibyte: Int64 = 1024 * 1024

/// The error of an operation that must fail as a `StorageError`.
func storageError<Value>(
    _ body: () throws -> Value, sourceLocation: SourceLocation = #_sourceLocation
) -> StorageError? {
    do {
        _ = try body()
        Issue.record("it succeeded", sourceLocation: sourceLocation)
    } catch let error as StorageError {
        #expect(!error.description.isEmpty, sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("not a StorageError: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

/// The refusal of an operation that a guard must hold back.
func refusal<Value>(
    _ body: () throws -> Value, sourceLocation: SourceLocation = #_sourceLocation
) -> GuardRefusal? {
    guard let error = storageError(body, sourceLocation: sourceLocation) else { return nil }
    #expect(error.category == .refused, sourceLocation: sourceLocation)
    guard case .refused(let refusal) = error else {
        Issue.record("no refusal: \(error)", sourceLocation: sourceLocation)
        return nil
    }
    return refusal
}

func openSource(_ path: String, _ options: SourceOptions = SourceOptions()) throws
    -> StorageDevice
{
    try StorageDevice.openSource(FilePath(path), options: options)
}

func openTarget(
    _ path: String, for source: StorageDevice, _ options: TargetOptions = TargetOptions()
) throws -> StorageDevice {
    try StorageDevice.openTarget(FilePath(path), for: source, options: options)
}

/// Opens the file of an image format, which is there already unless it is to be made.
func openFormat(_ path: String, create: Bool = false) throws -> StorageDevice {
    try StorageDevice.openTarget(
        FilePath(path), apartFrom: [], size: mebibyte, options: TargetOptions(create: create),
        content: .format)
}

/// Writes a byte pattern at an offset, through a descriptor of its own.
func write(_ count: Int, at offset: Int64, to path: String, byte: UInt8 = 0xA5) {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    defer { close(descriptor) }
    let bytes = [UInt8](repeating: byte, count: count)
    let written = pwrite(descriptor, bytes, count, Int(offset))
    precondition(written == count, "could not prepare \(path)")
}
