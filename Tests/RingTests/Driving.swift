import Glibc
import TestSupport

@testable import Ring

let file0 = FileIndex(0)

extension RequestQueue where Self: ~Copyable {
    /// Carries out any number of requests, as many at once as the ring takes, and returns their
    /// results in the order of the requests. Traps if one completes twice or an unknown one does.
    mutating func carryOut(_ requests: [Request]) throws -> [Int32] {
        precondition(inFlight == 0)
        var results = [Int32?](repeating: nil, count: requests.count)
        var waiting = Array(requests.indices.reversed())
        var finished = 0
        while finished < requests.count {
            while inFlight < depth, let next = waiting.popLast() {
                enqueue(requests[next], token: Token(next))
            }
            try wait(1)
            while let completion = nextCompletion() {
                let position = Int(completion.token)
                precondition(results[position] == nil, "request \(position) completed twice")
                results[position] = completion.result
                finished += 1
            }
        }
        return results.map { $0! }
    }

    mutating func carryOut(_ request: Request) throws -> Int32 { try carryOut([request])[0] }

    /// Submits, waits, and takes what is there, in the order in which it came.
    mutating func reap(_ minimum: Int, timeout: Int64? = nil) throws -> [Completion] {
        try wait(minimum, timeout: timeout)
        var completions: [Completion] = []
        while let completion = nextCompletion() { completions.append(completion) }
        return completions
    }

    /// Reaps until nothing is in flight.
    mutating func drain() throws -> [Completion] {
        var completions: [Completion] = []
        while inFlight > 0 { completions += try reap(1) }
        return completions
    }

    /// A ring may not die with requests in flight, so a failed wait gives them up first.
    private mutating func wait(_ minimum: Int, timeout: Int64? = nil) throws {
        do {
            try submitAndWait(minimum: minimum, timeoutNanoseconds: timeout)
        } catch {
            forsake()
            throw error
        }
    }
}

extension BufferSlab {
    func fill(_ bytes: [UInt8], at offset: Int) {
        withMutableBytes(offset..<offset + bytes.count) { span in
            for index in bytes.indices {
                span.storeBytes(of: bytes[index], toByteOffset: index, as: UInt8.self)
            }
        }
    }

    func bytes(_ range: Range<Int>) -> [UInt8] {
        withBytes(range) { span in
            (0..<span.byteCount).map { span.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        }
    }
}

func randomBytes(_ count: Int, _ generator: inout SeededGenerator) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
        withUnsafeBytes(of: generator.next()) { bytes += $0 }
    }
    return Array(bytes[..<count])
}
