import ArgumentParser

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure mirrors on disks of your own.",
        subcommands: [TransferCommand.self])
}
