import FoundationEssentials
import RingMirror

/// What a client asks of a job: a line of JSON. docs/control-socket.md is the contract.
struct ControlRequest: Equatable {
    enum Action: Equatable {
        case status
        /// A status every so often, until the job ends.
        case watch(milliseconds: Int)
        case verb(JobVerb)
    }

    let action: Action
    /// Given back with the reply.
    var id: ControlID?

    /// How often a watcher hears of the job unless it says so.
    private static let millisecondsDefault = 1000
    private static let milliseconds = 10...3_600_000

    init(_ action: Action) { self.action = action }

    /// Reads a line, without the newline at its end.
    init(line: some Sequence<UInt8>) throws(ControlFailure) {
        let fields = try Self.fields(line)
        do throws(ControlFailure) {
            action = try Self.action(fields)
        } catch {
            throw error.answering(fields.id.value)
        }
        if case .other = fields.id {
            throw ControlFailure(.badRequest, "`id` is neither a text nor a whole number")
        }
        id = fields.id.value
    }

    private static func fields(_ line: some Sequence<UInt8>) throws(ControlFailure) -> Fields {
        // A decoder that meets a null byte guesses at other encodings.
        if let text = String(validating: Array(line), as: UTF8.self), !text.utf8.contains(0),
            let fields = try? JSONDecoder().decode(Fields.self, from: Data(text.utf8))
        {
            return fields
        }
        throw ControlFailure(
            .badRequest, "the line is no JSON object with a text as its `do`",
            remedy: "Send a line such as {\"do\":\"status\"}.")
    }

    private static func action(_ fields: Fields) throws(ControlFailure) -> Action {
        switch fields.action {
        case "status": return .status
        case "watch": return .watch(milliseconds: try interval(fields.everyMilliseconds))
        case "pause": return .verb(.pause)
        case "resume": return .verb(.resume)
        case "speed": return .verb(.setSpeed(try speed(fields.bytesPerSecond)))
        case "complete": return .verb(.complete)
        case "cancel": return .verb(.cancel)
        default:
            throw ControlFailure(
                .unknownRequest, "there is no request '\(VisibleText.line(fields.action))'",
                remedy: "There are status, watch, pause, resume, speed, complete and cancel.")
        }
    }

    private static func interval(_ field: Field<Int>) throws(ControlFailure) -> Int {
        switch field {
        case .missing: return millisecondsDefault
        case .value(let value) where milliseconds.contains(value): return value
        case .value, .null, .other:
            throw ControlFailure(
                .badRequest, "`everyMilliseconds` is no whole number from 10 to 3600000")
        }
    }

    private static func speed(_ field: Field<Int64>) throws(ControlFailure) -> Int64? {
        switch field {
        case .null: return nil
        case .value(let value) where value >= 1: return value
        case .value, .missing, .other:
            throw ControlFailure(
                .badRequest,
                "`bytesPerSecond` is neither a whole number of 1 or more nor null",
                remedy: "Send null for no limit.")
        }
    }

    /// A field that may be there.
    private enum Field<Value: Decodable> {
        case missing, null
        case value(Value)
        /// Something of another kind.
        case other

        var value: Value? { if case .value(let value) = self { value } else { nil } }
    }

    private struct Fields: Decodable {
        let action: String
        let id: Field<ControlID>
        let bytesPerSecond: Field<Int64>
        let everyMilliseconds: Field<Int>

        private enum CodingKeys: String, CodingKey {
            case action = "do"
            case id, bytesPerSecond, everyMilliseconds
        }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            action = try values.decode(String.self, forKey: .action)
            id = Self.field(.id, values)
            bytesPerSecond = Self.field(.bytesPerSecond, values)
            everyMilliseconds = Self.field(.everyMilliseconds, values)
        }

        private static func field<Value>(
            _ key: CodingKeys, _ values: KeyedDecodingContainer<CodingKeys>
        ) -> Field<Value> {
            guard values.contains(key) else { return .missing }
            if (try? values.decodeNil(forKey: key)) == true { return .null }
            return (try? values.decode(Value.self, forKey: key)).map { .value($0) } ?? .other
        }
    }
}

extension ControlRequest {
    /// As a client sends it, with the end of the line.
    var line: [UInt8] {
        switch action {
        case .status: Self.line("status")
        case .watch(let milliseconds):
            Self.line("watch", #", "everyMilliseconds": \#(milliseconds)"#)
        case .verb(.setSpeed(let limit)):
            Self.line("speed", #", "bytesPerSecond": \#(limit.map { "\($0)" } ?? "null")"#)
        case .verb(let verb):
            Self.line(JobVerb.named.first { $0.verb == verb }?.name ?? "")
        }
    }

    private static func line(_ action: String, _ more: String = "") -> [UInt8] {
        Array("{\"do\": \"\(action)\"\(more)}\n".utf8)
    }
}

/// What a client calls a request, so that it knows the reply: a text or a whole number.
enum ControlID: Codable, Equatable {
    case text(String)
    case number(Int64)

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let number = try? value.decode(Int64.self) {
            self = .number(number)
        } else {
            self = .text(try value.decode(String.self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        switch self {
        case .text(let text): try value.encode(text)
        case .number(let number): try value.encode(number)
        }
    }
}
