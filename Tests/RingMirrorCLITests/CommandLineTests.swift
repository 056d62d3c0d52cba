import ArgumentParser
import SystemPackage
import Testing

@testable import RingMirrorCLI

/// What is said about command lines that can't be carried out.
@Suite struct CommandLineTests {
    /// The message for a command line.
    private func message(_ line: String) throws -> String {
        let arguments = line.split(separator: " ").map(String.init)
        if let mistake = CommandLineMistake.unknownCommand(arguments) { return mistake.message }
        do {
            _ = try RingMirrorCommand.parseAsRoot(Spellings.translate(arguments))
        } catch {
            return CommandLineMistake(parsing: error, arguments).message
        }
        return ""
    }

    @Test(arguments: [
        ("ful a b", "Did you mean 'ringmirror full'"), ("inc a b", "'ringmirror incremental'"),
        ("bitmap lst a", "'ringmirror bitmap list'"), ("clone a b", "ringmirror full SOURCE"),
        ("restore a b", "--overwrite"), ("zzz", "There are: full, top"),
        ("full a b --force", "--overwrite"), ("full a b -y", "--overwrite"),
        ("full a b --bwlimit 3M", "--speed"), ("full a b -v", "--log-level"),
        ("full a b --overwrit", "Did you mean '--overwrite'"), ("full a b -n", "--dry-run"),
        ("full a b --speed 10%", "bytes a second"), ("full a b --speed -5", "1 or more"),
        ("full a b --speed 0", "1 or more"), ("full a b --request-size x", "such as 64K"),
        ("bitmap mark a n 1M", "OFFSET+LENGTH"), ("bitmap mark a n 10-5", "END comes after"),
        ("full a b --on-source-error enospc", "'report', 'ignore' or 'stop'"),
    ])
    func `a mistake is told with what helps`(line: String, words: String) throws {
        let message = try message(line)
        #expect(message.contains(words), "\(message)")
    }

    @Test(arguments: [
        "full a b", "bitmap list a", "help", "help full", "full a b --speed 10MB/s",
        "full a b --on-source-error skip --on-target-error wait-if-full", "--", "-x",
        "full a b --speed 1e6", "bitmap mark a n 1M+64K 10G-11G",
    ])
    func `what is right is left alone`(line: String) {
        let arguments = line.split(separator: " ").map(String.init)
        #expect(CommandLineMistake.unknownCommand(arguments) == nil)
        guard line.hasPrefix("full") || line.hasPrefix("bitmap") else { return }
        #expect(throws: Never.self) { try RingMirrorCommand.parseAsRoot(arguments) }
    }

    @Test(arguments: [
        ("-", true), ("http:/x", true), ("nbd:/h/e", true), ("nbd+unix:/h", true), ("./-", false),
        ("nbd:unix:/s", true), ("nbd:localhost:10809", true), ("nbd", false), ("nbd.img", false),
        ("a:b", false), ("/dev/disk/by-id/x:y", false), ("dir/a:/b", false), (":/x", false),
    ])
    func `names that are no file's`(name: String, isUnsupported: Bool) {
        #expect((PathArgument.unsupportedName(name) != nil) == isUnsupported)
    }

    /// A path has lost slashes: what is quoted of it must be what somebody typed.
    @Test func `a URL is named by its scheme`() throws {
        for (name, start) in [
            ("nbd://h/e", "nbd:… is"), ("nbd+unix:///?socket=/s", "nbd+unix:… is"),
            ("nbd:unix:/s", "nbd:… is"), ("https://h/e", "https:… is"),
        ] {
            let path = FilePath(name).string
            let mistake = try #require(PathArgument.unsupportedName(path))
            #expect(mistake.problem.hasPrefix(start), "\(mistake)")
            #expect(mistake.remedy.hasSuffix("."), "\(mistake)")
            #expect(mistake.remedy.contains("nbdfuse") == name.hasPrefix("nbd"), "\(mistake)")
        }
    }

    @Test func `nearness counts changed letters`() {
        #expect(Nearness.distance(Array("full".utf8), Array("ful".utf8)) == 1)
        #expect(Nearness.distance([], Array("abc".utf8)) == 3)
        #expect(Nearness.distance(Array("kitten".utf8), Array("sitting".utf8)) == 3)
        #expect(Nearness.nearest(to: "qqq", among: ["full", "top"]) == nil)
        #expect(Nearness.nearest(to: "ifno", among: ["full", "info"]) == "info")
        #expect(Nearness.nearest(to: "inf", among: ["full", "info"]) == "info")
    }
}
