import BlockStorage
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// A file of which one call fails, as the system tells of a loss.
final class FailingFile: ImageFile, @unchecked Sendable {
    private let image: MemoryImage
    let isWritable = true
    /// Fails so many calls from now; nil: none any more.
    var callsUntilFailure: Int?
    var code: Errno = .ioError
    /// Whether a write or a sync has failed.
    private(set) var hasLost = false

    init(_ image: MemoryImage) { self.image = image }

    var path: FilePath { image.path }
    func length() throws(StorageError) -> Int64 { try image.length() }
    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        try image.read(at: offset, count: count)
    }
    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        try count(isLoss: true)
        try image.write(bytes, at: offset)
    }
    func sync() throws(StorageError) {
        try count(isLoss: true)
        try image.sync()
    }
    func resize(to length: Int64) throws(StorageError) {
        try count(isLoss: false)
        try image.resize(to: length)
    }

    private func count(isLoss: Bool) throws(StorageError) {
        guard let left = callsUntilFailure else { return }
        callsUntilFailure = left > 0 ? left - 1 : nil
        guard left == 0 else { return }
        if isLoss { hasLost = true }
        throw .systemCall(call: "call", path: path, code: code)
    }
}

/// What failed once to come to the file is not called safe later.
@Suite struct LossTests {
    private func newImage(
        _ size: Int64 = 1 << 20, _ change: (inout NewImageOptions) -> Void = { _ in }
    ) throws -> MemoryImage {
        var options = NewImageOptions(size: size)
        options.clusterSize = 512
        change(&options)
        let image = MemoryImage()
        _ = try options.create(in: image)
        return MemoryImage(image.content)
    }

    private func latched(_ file: FailingFile) throws -> any ImageFile {
        try ImageWriter(file, try Header.read(from: file)).file
    }

    /// What the file says afterwards.
    private func change(_ file: any ImageFile) -> [StorageError?] {
        var errors: [StorageError?] = []
        errors.append(error { try file.write([1], at: 512) })
        errors.append(error { try file.sync() })
        errors.append(error { try file.resize(to: 1 << 20) })
        return errors
    }

    private func error(_ body: () throws -> Void) -> StorageError? {
        do {
            try body()
            return nil
        } catch {
            return error as? StorageError
        }
    }

    @Test(arguments: [false, true])
    func `after a lost write or flush a file takes no more`(isFlush: Bool) throws {
        let image = try newImage()
        let failing = FailingFile(image)
        let file = try latched(failing)
        failing.callsUntilFailure = 0
        let first = try #require(
            error { if isFlush { try file.sync() } else { try file.write([1], at: 512) } })
        #expect(change(file) == [first, first, first])
        #expect(image.events.isEmpty)
        #expect(try file.read(at: 0, count: 4) == [0x51, 0x46, 0x49, 0xfb])
        // Another writer over the same file is no way around it.
        let other = try ImageWriter(file, try Header.read(from: file))
        #expect(change(other.file) == [first, first, first])
    }

    @Test func `a full disk may have space later`() throws {
        let failing = FailingFile(try newImage())
        let file = try latched(failing)
        failing.code = .noSpace
        failing.callsUntilFailure = 0
        #expect(throws: StorageError.self) { try file.write([1], at: 512) }
        failing.callsUntilFailure = 0
        #expect(throws: StorageError.self) { try file.resize(to: 1 << 20) }
        #expect(change(file) == [nil, nil, nil])
        // A flush has lost something, whatever it says; and of headers there is one.
        failing.callsUntilFailure = 0
        #expect(throws: StorageError.self) { try file.sync() }
        #expect(change(file).allSatisfy { $0 != nil })
        let other = FailingFile(try newImage())
        let header = try latched(other)
        other.code = .noSpace
        other.callsUntilFailure = 0
        #expect(throws: StorageError.self) { try header.write([1], at: 0) }
        #expect(change(header).allSatisfy { $0 != nil })
    }

    @Test(arguments: [Errno.ioError, .noSpace], [16, 64])
    func `whatever fails once: what is lost stays lost, and a full disk costs nothing`(
        code: Errno, bits: Int
    ) throws {
        let start = try newImage(2 << 20) { $0.refcountBits = bits }.content
        var number = 0
        while true {
            let image = MemoryImage(start)
            let failing = FailingFile(image)
            failing.code = code
            let driver = try TargetDriver(failing, isNew: true, growth: 4096, data: image)
            failing.callsUntilFailure = number
            var isLatched = false
            for round in 0..<6 {
                _ = try? write(driver, round)
                do {
                    try driver.commit()
                    #expect(!isLatched, "call \(number): a loss was forgotten")
                } catch {
                    isLatched = failing.hasLost && code == .ioError
                }
                #expect(isLatched || !failing.hasLost || code == .noSpace, "call \(number)")
            }
            do {
                try driver.commit(isFinal: true)
                #expect(!isLatched, "call \(number)")
            } catch {
                #expect(isLatched || failing.callsUntilFailure == nil, "call \(number)")
            }
            let found = NaiveImage(bytes: image.content)
            #expect(found.problems() == [], "call \(number)")
            guard failing.callsUntilFailure == nil else { break }
            number += number < 40 ? 1 : 23
        }
        #expect(number > 40)
    }

    /// Many tables, so that the refcounts grow.
    private func write(_ driver: TargetDriver, _ round: Int) throws {
        for start in stride(from: Int64(round) * 2048, to: 1 << 20, by: 65536 / 4) {
            try driver.start(
                start..<(start + 2048), [UInt8](repeating: UInt8(round + 1), count: 2048))
        }
        try driver.arriveAll()
    }
}
