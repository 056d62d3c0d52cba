import Foundation
import RingMirror
import TestSupport
import Testing

@testable import RingMirrorCLI

/// Requests and replies of a control socket, and how lines are made of what comes.
@Suite struct ControlProtocolTests {
    private func request(_ text: String) throws(ControlFailure) -> ControlRequest {
        try ControlRequest(line: Array(text.utf8))
    }

    private func code(_ bytes: [UInt8]) -> ControlCode? {
        do throws(ControlFailure) {
            _ = try ControlRequest(line: bytes)
            return nil
        } catch {
            return error.code
        }
    }

    // MARK: Requests

    @Test(arguments: [
        (#"{"do":"status"}"#, ControlRequest.Action.status),
        (#" { "do" : "status" , "later" : [1, {"a": null}] } "#, .status),
        (#"{"do":"watch"}"#, .watch(milliseconds: 1000)),
        (#"{"everyMilliseconds":10,"do":"watch"}"#, .watch(milliseconds: 10)),
        (#"{"do":"pause"}"#, .verb(.pause)), (#"{"do":"resume"}"#, .verb(.resume)),
        (#"{"do":"complete"}"#, .verb(.complete)), (#"{"do":"cancel"}"#, .verb(.cancel)),
        (#"{"do":"speed","bytesPerSecond":1}"#, .verb(.setSpeed(1))),
        (#"{"do":"speed","bytesPerSecond":null}"#, .verb(.setSpeed(nil))),
        (#"{"do":"\u0073tatus"}"#, .status),
    ])
    func `a request is understood`(text: String, action: ControlRequest.Action) throws {
        #expect(try request(text).action == action)
    }

    @Test func `an id is a text or a whole number`() throws {
        #expect(try request(#"{"do":"status","id":"a b"}"#).id == .text("a b"))
        #expect(try request(#"{"do":"status","id":-7}"#).id == .number(-7))
        #expect(try request(#"{"do":"status","id":null}"#).id == nil)
        for id in ["1.5", "[]", "{}", "true", "1e300"] {
            #expect(code(Array("{\"do\":\"status\",\"id\":\(id)}".utf8)) == .badRequest, "\(id)")
        }
    }

    @Test func `a refusal has the id of its request`() {
        for text in [#"{"do":"speed","id":3}"#, #"{"do":"x","id":3}"#] {
            let failure = #expect(throws: ControlFailure.self) { try request(text) }
            #expect(failure?.id == .number(3))
        }
    }

    @Test(arguments: [
        "", " ", "status", "[]", "null", "1", "\"do\"", "{}", "{", #"{"do":1}"#, #"{"do":null}"#,
        #"{"do":["status"]}"#, #"{"do":"status""#, #"{"do":"status"}}"#, #"{"DO":"status"}"#,
        #"{"do":"speed"}"#, #"{"do":"speed","bytesPerSecond":0}"#,
        #"{"do":"speed","bytesPerSecond":-1}"#, #"{"do":"speed","bytesPerSecond":"1M"}"#,
        #"{"do":"speed","bytesPerSecond":1.5}"#, #"{"do":"speed","bytesPerSecond":1e30}"#,
        #"{"do":"watch","everyMilliseconds":9}"#, #"{"do":"watch","everyMilliseconds":null}"#,
        #"{"do":"watch","everyMilliseconds":3600001}"#, "{\"do\":\"sta\u{0}tus\"}",
    ])
    func `what is no request is told`(text: String) {
        #expect(code(Array(text.utf8)) == .badRequest, "\(text)")
    }

    @Test func `a request that there is not is told by name`() {
        let failure = #expect(throws: ControlFailure.self) { try request(#"{"do":"sto\np"}"#) }
        #expect(failure?.code == .unknownRequest)
        #expect(failure?.problem.contains(#"'sto\np'"#) == true)
    }

    /// What commands send is what jobs understand.
    @Test func `requests are read as they are written`() throws {
        let verbs: [JobVerb] = [
            .pause, .resume, .cancel, .complete, .setSpeed(7), .setSpeed(nil),
        ]
        let actions = verbs.map { ControlRequest.Action.verb($0) } + [.status]
        for action in actions + [.watch(milliseconds: 20)] {
            let line = ControlRequest(action).line
            #expect(line.last == UInt8(ascii: "\n"))
            #expect(try ControlRequest(line: line.dropLast()).action == action)
        }
    }

    /// On a thread with as little stack as that of the server has.
    @Test func `no line is too much for the thread that reads it`() throws {
        let lines =
            ["[", "{\"a\":", "[{\"do\":", "\"", "\\u", "{\"do\":\"status\",\"a\":["].map { piece in
                Array(String(repeating: piece, count: (64 << 10) / piece.count).utf8)
            } + [
                [UInt8](repeating: 0, count: 64 << 10), [0xEF, 0xBB, 0xBF] + Array("{}".utf8),
                [0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00], [0xC0, 0x80], [0xED, 0xA0, 0x80],
                Array(
                    ("{\"do\":\"status\",\"a\":" + String(repeating: "9", count: 60_000) + "}").utf8
                ),
            ]
        let thread = try #require(
            PlainThread {
                for line in lines { _ = try? ControlRequest(line: line) }
            })
        thread.join()
        #expect(code(lines[0]) == .badRequest)
        #expect(code(lines[6]) == .badRequest)
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func `no bytes do harm`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let good = Array(#"{"do":"speed","id":"é","bytesPerSecond":104857600}"#.utf8)
        for _ in 0..<2000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                let byte = UInt8.random(in: 0...255, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = byte
                case 1: bytes.insert(byte, at: place)
                default: bytes.remove(at: place)
                }
            }
            _ = code(bytes)
            let noise = (0..<Int.random(in: 0...64, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            #expect(code(noise) != nil)
        }
    }

    // MARK: Lines

    private func all(_ lines: inout ControlLines) -> [ControlLines.Line] {
        var all: [ControlLines.Line] = []
        while let line = lines.next() { all.append(line) }
        return all
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func `lines are the same however they are split`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let lengths = [0, 1, 7, 500, 65_535, 65_536, 65_537, 70_000, 200_000]
        let texts = (0..<30).map { _ in
            [UInt8](
                repeating: UInt8.random(in: 97...122, using: &generator),
                count: lengths.randomElement(using: &generator) ?? 0)
        }
        let expected: [ControlLines.Line] = texts.filter { !$0.isEmpty }.map {
            $0.count > ControlLines.lengthMax ? .tooLong : .line($0)
        }
        var rest = Array(texts.joined(separator: [10]) + [10])[...]
        var lines = ControlLines()
        var found: [ControlLines.Line] = []
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...4096, using: &generator))
            rest = rest.dropFirst(piece.count)
            lines.append(Array(piece))
            found += all(&lines)
            #expect(lines.hasRoom)
        }
        #expect(found == expected)
    }

    @Test func `a line that is not whole is kept`() {
        var lines = ControlLines()
        lines.append(Array("one\r\n\n\r\ntw".utf8))
        #expect(all(&lines) == [.line(Array("one".utf8))])
        lines.append(Array("o\n".utf8))
        #expect(all(&lines) == [.line(Array("two".utf8))])
    }

    @Test func `without an end nothing is kept of a line that is too long`() {
        var lines = ControlLines()
        var found: [ControlLines.Line] = []
        for _ in 0..<1000 {
            lines.append([UInt8](repeating: 120, count: 4096))
            found += all(&lines)
        }
        #expect(found == [.tooLong])
        lines.append(Array("x\nnext\n".utf8))
        #expect(all(&lines) == [.line(Array("next".utf8))])
    }

    // MARK: The contract

    @Test func `every code and every field is in the document`() throws {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        let text = try String(
            contentsOf: url.appendingPathComponent("docs/control-socket.md"), encoding: .utf8)
        let phases = JobPhase.allCases.map { "\($0)" } + JobKind.allCases.map(\.rawValue)
        let verbs = JobVerb.named.map(\.name)
        for word in ControlCode.allCases.map(\.rawValue) + phases + verbs {
            #expect(text.contains("`\(word)`"), "\(word)")
        }
        for line in text.split(separator: "\n") where line.hasPrefix("{") {
            _ = try JSONSerialization.jsonObject(with: Data(line.utf8))
        }
    }
}
