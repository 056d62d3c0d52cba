import Foundation
import Glibc
import TestSupport

/// Histories by the program: its exit codes, its words, and processes that really die.
struct CommandRig: Rig {
    let files: Files
    let kind: SourceKind
    let scratch: Scratch
    let program: String

    private var name: String { kind == .raw ? "s.img" : "s.qcow2" }

    private static func bitmap(_ number: Int) -> String { "b\(number)" }

    /// - Parameter limit: the size of files beyond which writing them fails.
    private func start(_ arguments: [String], limit: Int? = nil) throws -> Child {
        let limits = limit.map { ["prlimit", "--fsize=\($0)"] } ?? []
        return try Child(
            ["env", "RINGMIRROR_STATE_DIR=\(scratch.path("state"))"] + limits + [program]
                + arguments,
            in: scratch)
    }

    private func bitmaps(_ verb: String, _ arguments: [String]) throws {
        let end = try start(["bitmap", verb, files.path(name)] + arguments + ["-q"]).wait()
        guard end.code == 0 else {
            throw Unexpected("BITMAP \(verb) ended with \(end.code ?? -1): \(end.errors)")
        }
    }

    private func qemu(_ program: String, _ arguments: [String]) throws {
        let end = try Child([program] + arguments, in: scratch).wait()
        guard end.code == 0 else { throw Unexpected("\(program): \(end.errors)") }
    }

    // MARK: The source

    func make(_ bytes: [UInt8]) throws {
        if kind == .raw {
            files.make(name, bytes)
        } else {
            try qemu(
                "qemu-img",
                [
                    "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", files.path(name),
                    String(bytes.count),
                ])
        }
        for number in 0..<2 { try add(number) }
    }

    private func add(_ number: Int) throws {
        try bitmaps(
            "add",
            [Self.bitmap(number), "--granularity", String(Setting.granularities[number])])
    }

    func source() -> [UInt8] {
        let bytes = files.read(name) ?? []
        return kind == .raw ? bytes : ImageReader(bytes)?.disk() ?? []
    }

    func write(
        _ bytes: [UInt8], at offset: Int, marking: Set<Int>, _ trace: Trace
    ) throws -> (written: [Range<Int>], heard: Set<Int>) {
        let range = offset..<offset + bytes.count
        guard kind == .raw else {
            guard marking.isEmpty else {
                files.make("new.img", bytes)
                defer { files.remove("new.img") }
                try qemu(
                    "qemu-io",
                    [
                        "-f", "qcow2", "-c",
                        "write -q -s \(files.path("new.img")) \(offset) \(bytes.count)",
                        files.path(name),
                    ])
                return ([range], marking)
            }
            return (writeBehindFormat(bytes, at: offset, trace), [])
        }
        files.write(name, bytes, at: offset, trace)
        for bitmap in marking {
            try bitmaps("mark", [Self.bitmap(bitmap), "\(offset)+\(bytes.count)"])
        }
        return ([range], marking)
    }

    // MARK: Bitmaps

    func setRecording(_ bitmap: Int, _ isOn: Bool) throws {
        try bitmaps(isOn ? "enable" : "disable", [Self.bitmap(bitmap)])
    }

    func clear(_ bitmap: Int) throws -> Bool {
        try bitmaps("clear", [Self.bitmap(bitmap)])
        return true
    }

    func readd(_ bitmap: Int) throws {
        try bitmaps("remove", [Self.bitmap(bitmap)])
        try add(bitmap)
    }

    func startAnew() throws {
        files.remove(name + ".bitmaps")
        for number in 0..<2 {
            if kind == .qcow2 { try bitmaps("remove", [Self.bitmap(number)]) }
            try add(number)
        }
    }

    // MARK: Jobs

    func restore(from target: Int, _ surroundings: Surroundings) throws -> Ending {
        try run(
            ["full", files.path(Self.target(target)), files.path(name), "--overwrite", "--json"],
            in: surroundings, meanwhile: {})
    }

    func run(_ job: Job, meanwhile: @escaping @Sendable () -> Void) throws -> Ending {
        var arguments = [job.mode.rawValue, files.path(name), files.path(Self.target(job.target))]
        if let bitmap = job.bitmap { arguments += ["--bitmap", Self.bitmap(bitmap)] }
        if let clearing = job.clearing { arguments += ["--bitmap-mode", clearing.mode.rawValue] }
        if job.vouches, job.mode == .incremental { arguments.append("--new-target") }
        if job.isResumed { arguments.append("--resume") }
        if job.mode == .full, !job.isResumed {
            let isThere = files.exists(Self.target(job.target))
            arguments.append(isThere ? "--overwrite" : "--create")
        }
        switch job.verification {
        case .none: break
        case .copied: arguments.append("--verify")
        case .all: arguments.append("--verify=all")
        }
        arguments += ["--json", "--checkpoint", "0.001", "--depth", "1", "--request-size", "4K"]
        if job.isSlow { arguments += ["--speed", "20M"] }
        return try run(arguments, in: job.surroundings, meanwhile: meanwhile)
    }

    private func run(
        _ arguments: [String], in surroundings: Surroundings,
        meanwhile: @escaping @Sendable () -> Void
    ) throws -> Ending {
        var limit: Int?
        if case .failing(let after) = surroundings { limit = 256 << 10 + after * 64 << 10 }
        let child = try start(arguments, limit: limit)
        // Which byte it has come to by then differs from run to run; all else does not.
        switch surroundings {
        case .quiet, .failing: break
        case .interrupted(let after):
            usleep(UInt32(after) * 3000 + 5000)
            child.send(SIGINT)
        case .killed(let after):
            usleep(UInt32(after) * 3000)
            child.kill(group: SIGKILL)
            _ = try child.wait()
            return .killed
        case .sourceWritten(let after):
            usleep(UInt32(after) * 3000 + 5000)
            guard child.isRunning else { break }
            meanwhile()
            // It may have looked for the last time just before.
            let end = Self.ending(try child.wait())
            return end.isSuccess ? .killed : end
        }
        return Self.ending(try child.wait())
    }

    private static func ending(_ end: Child.End) -> Ending {
        // It came before the program could hear of it.
        if end.signal == SIGINT { return .killed }
        switch end.code {
        case 0:
            guard let claim = claim(in: end.output) else {
                return .failed("exit 0 without a report: \(end.output)\(end.errors)")
            }
            return .success(claim)
        case 1: return .failed(end.output + end.errors)
        case 2: return .unusable(end.errors)
        case 3: return .refused(end.errors)
        case 130: return .interrupted
        case 4: return .failed("a difference: \(end.errors)")
        default:
            return .failed("ended with \(end.code ?? -1), signal \(end.signal ?? 0): \(end.errors)")
        }
    }

    private static func claim(in output: String) -> Ending.Claim? {
        for line in output.split(separator: "\n") {
            guard
                let event = try? JSONSerialization.jsonObject(with: Data(line.utf8))
                    as? [String: Any], event["outcome"] as? String == "mirrored",
                let kind = event["claim"] as? String,
                let evidence = event["evidence"] as? [[String: Any]]
            else { continue }
            let codes = evidence.compactMap { $0["code"] as? String }
            let isProven = codes.contains("allCopied") || codes.contains("allCompared")
            return Ending.Claim(kind: kind, isConditional: kind != "mirror" || !isProven)
        }
        return nil
    }
}
