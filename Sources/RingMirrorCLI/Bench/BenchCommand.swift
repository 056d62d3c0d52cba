import ArgumentParser

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure mirrors on your own disks. The target is overwritten.",
        usage: "ringmirror bench <subcommand>",
        subcommands: [TransferCommand.self])
}
