import Foundation
import RingMirror
import Testing

@testable import RingMirrorCLI

/// The form of what is said to people.
@Suite struct MessageTests {
    @Test func `one form`() {
        #expect(Message.format("a", .error, toJournal: false) == "ringmirror: a")
        #expect(Message.format("a", .warning, toJournal: false) == "ringmirror: warning: a")
        #expect(Message.format("a", .note, toJournal: false) == "ringmirror: note: a")
        #expect(Message.format("a", .progress, toJournal: false) == "ringmirror: a")
        #expect(Message.format("a", .error, toJournal: true) == "<3>ringmirror: a")
        #expect(Message.format("a", .note, toJournal: true) == "<5>ringmirror: note: a")
    }

    @Test(arguments: [
        ("plain ö 日本", "plain ö 日本"), ("a\nringmirror: b", "a\\nringmirror: b"),
        ("a\u{1B}[2Jb", "a\\x1B[2Jb"), ("\r\t\u{7F}", "\\r\\t\\x7F"), ("\u{9B}1m", "\\u{9B}1m"),
        ("a\u{202E}gmi", "a\\u{202E}gmi"), ("\u{2028}", "\\u{2028}"), ("👩‍👩‍👧", "👩‍👩‍👧"),
    ])
    func `nothing in a name acts on the terminal`(text: String, shown: String) {
        #expect(VisibleText.line(text) == shown)
    }

    @Test func `what to do is told apart`() {
        let failure = Failure(
            .notFound, "a. b.img: no such file", remedy: "Check the name; look twice.",
            path: "a. b.img", .usage)
        #expect(failure.message == "a. b.img: no such file. Check the name; look twice.")
        #expect(failure.remedy == "Check the name; look twice.")
        let more = failure.adding("Or make it.")
        #expect(more.message == failure.message + " Or make it.")
        #expect(more.remedy == "Check the name; look twice. Or make it.")
        #expect(Failure(.systemCall, "a. b", .failed).remedy == nil)
    }
}

/// What the library says about errors, in the command line's words.
@Suite struct FailureTests {
    @Test func `ways are options and commands`() {
        let larger = Failure(
            StorageError.refused(.targetLarger(target: "/t", targetSize: 2048, sourceSize: 512)))
        #expect(
            larger.remedy
                == "Check that it is the one you mean, then use --allow-larger; the last 1536 "
                + "bytes will stay as they are.")
        #expect(larger.code == "targetLarger" && larger.path == "/t" && larger.exit == .refused)
        #expect(larger.message.hasPrefix("target /t is larger than the source"))
        #expect(larger.message.hasSuffix(larger.remedy ?? "-"))
        let old = Failure(MirrorError.nothingToResume(target: "/t", store: "/s"))
        #expect(old.remedy == "Run without --resume." && old.exit == .usage)
        let differing = Failure(
            MirrorError.verificationFailed(
                source: "/s", target: "/t", offset: 4096, bytes: 1, cause: .lost))
        #expect(differing.offset == 4096 && differing.exit == .different)
        let memory = Failure(MirrorError.ring(.outOfMemory))
        #expect(memory.code == "noRing" && memory.remedy?.contains("or lower --depth") == true)
    }

    @Test func `what was never meant to be a file is a mistake in its name`() {
        for failure in [
            Failure(StorageError.notFound(path: "nbd:/x")),
            Failure(MirrorError.storage(.notFound(path: "nbd:/x"))),
        ] {
            #expect(failure.code == "unsupportedName" && failure.exit == .usage)
            #expect(failure.remedy?.hasPrefix("Name a disk") == true)
        }
    }
}

/// Events that can't be written.
@Suite struct EventTests {
    private struct Odd: Encodable {
        let event = "odd"
        let rate: Double
    }

    private struct Named: Codable {
        let name: String
    }

    @Test(arguments: ["a\u{202E}b", "\u{9B}1m", "\u{E0001}", "\n\u{7F}", "plain"])
    func `a line of JSON stays one`(name: String) throws {
        let line = Events.line(Named(name: name)).text
        #expect(VisibleText.line(line) == line)
        let read = try JSONDecoder().decode(Named.self, from: Data(line.utf8))
        #expect(read.name == name)
    }

    @Test func `bytes that are no text are shown in JSON as elsewhere`() throws {
        let line = Events.line(Named(name: ByteEscape.escape([CChar(bitPattern: 0xFF)]))).text
        #expect(VisibleText.line(line) == line)
        #expect(try JSONDecoder().decode(Named.self, from: Data(line.utf8)).name == "\\xFF")
    }

    @Test func `an event without a form in JSON is an error in its place`() {
        #expect(Events.line(Odd(rate: 1)).text == #"{"event":"odd","rate":1}"#)
        let lost = Events.line(Odd(rate: .infinity))
        #expect(!lost.isWhole)
        #expect(lost.text.contains(#""code":"outputLost""#), "\(lost.text)")
    }
}
