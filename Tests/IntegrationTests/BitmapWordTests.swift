import Foundation
import TestSupport
import Testing

extension Processes {
    /// What is said of bitmaps and of what rests on them.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct BitmapWords {
        static let size = 8 * miB

        @Test func `a measurement is enough for every target`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let (first, second) = (scratch.path("first"), scratch.path("second"))
            try scratch.bitmap("add", source, "n")
            for target in [first, second] {
                try scratch.mirror(source, target, "--create", "--bitmap", "n")
            }
            try scratch.bitmap("mark", source, "n", "4M+1M")
            try scratch.increment(source, first, "--bitmap", "n")
            func planned(_ options: String...) throws -> Int64? {
                let end = try scratch.run(
                    ["measure", source, "--mode", "incremental", "--bitmap", "n", "--json"]
                        + options)
                #expect(end.code == Code.done, "\(end)")
                return end.events.last?.number("planned")
            }
            #expect(try planned() == miB)
            #expect(try planned("--target", first) == 0)
            #expect(try planned("--target", second) == miB)
            let unknown = try scratch.run(
                "measure", source, "--mode", "incremental", "--bitmap", "n", "--target", source)
            #expect(unknown.code == Code.usage, "\(unknown)")
        }

        /// A restore can't mark what it does not find.
        @Test func `a file of bitmaps elsewhere is among what a mirror rests on`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            for (store, isElsewhere) in [("elsewhere", true), ("source.bitmaps", false)] {
                let options = ["--bitmaps", scratch.path(store)]
                let added = try scratch.run(["bitmap", "add", source, "n"] + options)
                #expect(added.code == Code.done, "\(added)")
                let full = try scratch.run(
                    ["full", source, target, "--bitmap", "n"] + options
                        + [isElsewhere ? "--create" : "--overwrite"])
                #expect(full.code == Code.done, "\(full)")
                let end = try scratch.run(
                    ["incremental", source, target, "--bitmap", "n", "--json"] + options)
                let codes = try end.report().list("evidence").compactMap { $0.text("code") }
                #expect(codes.contains("storeElsewhere") == isElsewhere, "\(end)")
            }
        }

        @Test func `what is removed has an event`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            let jobs = try scratch.bitmap("remove", source, "--jobs", "--json")
            #expect(jobs.events.map(\.kind) == ["removed"] && jobs.events[0].number("jobs") == 0)
            let one = try scratch.bitmap("remove", source, "n", "--json")
            #expect(one.events.last?.text("bitmap") == "n", "\(one)")
        }

        @Test func `a comparison with a larger target is one of its beginning`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.file("target", size: 2 * Self.size)
            let arguments = ["full", source, target, "--allow-larger", "--verify"]
            let text = try scratch.run(arguments)
            #expect(text.output.contains("the first 8.0 MiB of \(target) are identical"), "\(text)")
            let end = try scratch.run(arguments + ["--json", "--overwrite"])
            let verify = try #require(end.events.last { $0.kind == "verify" }, "\(end)")
            #expect(verify.text("scope") == "prefix", "\(end)")
        }

        /// What was copied is less than all, of which alone a side is identical.
        @Test func `a comparison of what was copied calls nothing identical`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            try scratch.bitmap("mark", source, "n", "4M+1M")
            let end = try scratch.run(
                "incremental", source, target, "--bitmap", "n", "--verify", "--json")
            #expect(end.code == Code.done, "\(end)")
            let verify = try #require(end.events.last { $0.kind == "verify" }, "\(end)")
            #expect(verify.text("scope") == "copied", "\(end)")
            #expect(verify.fields["identical"] == nil && verify.number("differingBytes") == 0)
        }

        /// Arguments come as bytes, and bitmaps are stored by names that are text.
        @Test func `a name that is no text`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let odd = ["sh", "-c", #"exec "$@" "$(printf 'n\377')""#, "sh"]
            let end = try scratch.run(["bitmap", "add", source], prefix: odd)
            #expect(end.code == Code.usage && end.errors.contains("not UTF-8"), "\(end)")
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
            try scratch.bitmap("add", source, "n")
            let show = try scratch.run(["bitmap", "show", source], prefix: odd)
            #expect(show.code == Code.usage && show.errors.contains("not UTF-8"), "\(show)")
        }
    }
}
