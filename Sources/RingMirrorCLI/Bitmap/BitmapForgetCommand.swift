import ArgumentParser
import RingMirror

struct BitmapForgetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Forget a target of a bitmap.",
        usage: "ringmirror bitmap forget <path> <name> --target <target> [<options>]",
        discussion: """
            For each disk or image that a bitmap was mirrored to, the file of bitmaps keeps what \
            it lacks. One that will not be mirrored to again can be forgotten.

            Interrupted jobs to it by the bitmap can't be resumed then, and it needs a full mirror \
            before it can be a target of the bitmap again.

            Examples:
              ringmirror bitmap forget vm.img nightly --target /backup/old.img
            """)

    @OptionGroup var one: OneBitmap
    @Option(help: "The disk or image to forget, as `bitmap list` shows it.", completion: .file())
    var target: PathArgument

    func run() throws {
        let options = one.options
        let home = try one.open()
        let wanted = target.path
        let forgotten = try options.attempt { () throws(MirrorError) in
            try home.forgetTargets(of: one.name) {
                $0.path == wanted || Files.lead($0.path, wanted)
            }
        }
        guard !forgotten.isEmpty else {
            throw options.complaint.end(
                .otherTarget,
                "bitmap '\(one.name)' does not know \(wanted)",
                remedy: "`ringmirror bitmap list` shows its targets.", .usage)
        }
        for found in forgotten {
            if options.output.json {
                Events.print(
                    Events.Forgotten(
                        bitmap: one.name, target: found.path.string, store: home.path.string))
            } else if !options.output.quiet {
                Output.line("bitmap '\(one.name)' does not know \(found.path) any more")
            }
        }
    }
}
