/// Words that people bring along from other tools, and what they are called here.
enum ForeignWords {
    static func command(_ word: String) -> String? {
        switch word {
        case "clone", "copy", "cp", "mirror", "backup", "convert", "dd":
            "`ringmirror full SOURCE TARGET` copies all of a disk or image."
        case "restore":
            "A restore is a full mirror the other way: "
                + "`ringmirror full BACKUP DISK --overwrite`."
        case "sync", "update", "delta":
            "`ringmirror incremental SOURCE TARGET --bitmap NAME` copies what has changed."
        case "diff", "cmp", "verify", "check":
            "`ringmirror compare A B` compares; `ringmirror bitmap diff` marks what differs."
        case "list", "ls", "show", "status", "ps":
            "`ringmirror job list` lists jobs that run; `ringmirror bitmap list PATH` lists "
                + "bitmaps and interrupted jobs; `ringmirror info PATH` describes a disk or image."
        case "resume":
            "`ringmirror full SOURCE TARGET --resume` resumes an interrupted mirror; `ringmirror "
                + "job resume` lets a paused job go on."
        case "pause", "complete", "cancel", "speed":
            "`ringmirror job \(word)` asks that of a job that runs."
        case "stop", "abort", "kill": "`ringmirror job cancel` stops a job that runs."
        case "rebase", "flatten": "`ringmirror stream OVERLAY` copies an overlay's backing in."
        case "map": "`ringmirror bitmap import` and `--map FILE` read change maps."
        default: nil
        }
    }

    static func option(_ name: String) -> String? {
        switch name {
        case "--force", "-f", "-y", "--yes", "--assume-yes", "--overwrite-target":
            "no option forces everything. --overwrite writes over a target that holds data; a "
                + "target in use is never written"
        case "--bwlimit", "--rate", "--rate-limit", "--limit", "--throttle", "-r":
            "--speed limits the rate, such as --speed 200M"
        case "-p": "--progress shows how far it is"
        case "-v", "-vv", "--verbose", "--debug":
            "--log-level info or debug says more, and --progress shows how far it is"
        case "-n", "--dryrun", "--simulate", "--test":
            "--dry-run runs the safety checks and says what would be done"
        case "-b", "--bs", "--block-size", "--buffer-size", "--blocksize":
            "--request-size gives the size of a request"
        case "-j", "-m", "--threads", "--jobs", "--parallel":
            "--rings gives the number of threads, and --depth the requests in flight"
        case "-t", "--direct", "--nocache", "--no-cache": "--cache direct or buffered decides"
        case "-O", "--output-format": "--target-format raw or qcow2 says what TARGET becomes"
        case "-S", "--sparse": "--zeroes detect, holes or write says what becomes of zeros"
        case "--continue", "--partial": "--resume resumes an interrupted mirror"
        case "--check", "--checksum", "-c": "--verify compares what was copied"
        default: nil
        }
    }
}

/// What the value of an option looks like.
enum ValueHints {
    static func hint(for option: String) -> String? {
        switch option {
        case "--speed":
            "give bytes a second, 1 or more, such as 200M (letters are powers of 1024)"
        case "--request-size", "--granularity", "--cluster-size", "--map-block-size", "--clump":
            "give bytes, such as 64K (letters are powers of 1024)"
        case "<ranges>":
            "a range is OFFSET+LENGTH (1M+64K) or START-END (10G-11G), where END comes after START"
        case "--depth", "--rings", "--rounds", "--seed", "--map-thin-device", "--map-peer":
            "give a whole number"
        case "--checkpoint": "give seconds, such as 5 or 0.5"
        case "--shares": "give percents above 0 and up to 100, such as 0.1,1,10"
        default: nil
        }
    }
}

/// Which word was meant by one that was mistyped.
enum Nearness {
    /// The nearest word, if it is near enough to be meant.
    static func nearest(to word: String, among words: [String]) -> String? {
        // The beginning of one word alone is that word.
        let begun = words.filter { word.utf8.count >= 2 && $0.hasPrefix(word) }
        if begun.count == 1 { return begun[0] }
        let found = words.map { ($0, distance(Array(word.utf8), Array($0.utf8))) }
            .min { $0.1 < $1.1 }
        guard let (nearest, distance) = found, distance <= max(1, nearest.utf8.count / 2) else {
            return nil
        }
        return nearest
    }

    /// How many bytes have to be added, removed or changed.
    static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
        // What nobody types is no typing error, and costs nothing to look at.
        guard first.count <= 64, second.count <= 64 else { return .max }
        var row = Array(0...second.count)
        for (line, byte) in first.enumerated() {
            var before = row[0]
            row[0] = line + 1
            for column in 0..<second.count {
                let above = row[column + 1]
                row[column + 1] = min(
                    above + 1, row[column] + 1, before + (byte == second[column] ? 0 : 1))
                before = above
            }
        }
        return row[second.count]
    }
}
