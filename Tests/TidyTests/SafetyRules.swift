/// What code must not do, or only where it is expected.
extension Rule {
    /// Where `unsafe` may stand, and why there. A path that ends in a slash is a whole folder.
    static let unsafePlaces: [(path: String, why: String)] = [
        ("Sources/Ring/", "it is made to keep the kernel's pointers away from everybody else"),
        (
            "Sources/DirtyBitmap/AtomicBitmap.swift",
            "no array can hold atomics: they can't be moved"
        ),
        ("Sources/BlockStorage/SystemCalls.swift", "ioctls, stat, statx: C structures by address"),
        ("Sources/BlockStorage/SystemCalls+Text.swift", "paths, links and directories by address"),
        ("Sources/BlockStorage/FileSizeSignal.swift", "sets of signals are given by address"),
        ("Sources/BlockStorage/ForeignWriters.swift", "fanotify's notes come by address"),
        ("Sources/BlockStorage/SystemCalls+Locks.swift", "fcntl fills structures by address"),
        ("Sources/BlockStorage/SignatureProbe.swift", "libblkid hands out pointers"),
        (
            "Sources/BitmapStore/StoreCalls.swift",
            "fstat, renames: structures and names by address"
        ),
        (
            "Sources/QCOW2/Format/Array+BigEndianWords.swift",
            "millions of numbers, byte by byte too slow"
        ),
        ("Sources/QCOW2/Reading/Decompressor.swift", "zlib and libzstd work on memory by address"),
        ("Sources/BlockStorage/MountedFilesystem.swift", "statx fills a structure by address"),
        ("Sources/KernelTracking/MappedState.swift", "the kernel's maps are memory"),
        ("Sources/KernelTracking/MappedWords.swift", "the kernel's maps are memory"),
        ("Sources/KernelTracking/TrackerCalls.swift", "libbpf takes structures by address"),
        ("Sources/KernelTracking/TrackerFiles.swift", "libbpf takes structures by address"),
        ("Sources/KernelTracking/DiskTracker.swift", "a number of 16 bytes is a tuple in C"),
        ("Sources/Freezing/Freeze.swift", "the helpers' handle is C's"),
        ("Sources/MirrorEngine/Job/Clock.swift", "clock_gettime takes an address"),
        (
            "Sources/RingMirrorCLI/Process/",
            "arguments, signals, threads and standard streams are C's"
        ),
        ("Sources/RingMirrorCLI/PathArgument.swift", "a path's bytes are given by address"),
        ("Sources/RingMirrorCLI/Files.swift", "read fills memory by address"),
        ("Sources/RingMirrorCLI/OutputFile.swift", "system calls take names by address"),
    ]

    static let unsafeCode = Rule("Unsafe code stands only where it is expected") { file in
        file.isSource && file.isSwift
            && !unsafePlaces.contains {
                $0.path.hasSuffix("/") ? file.path.hasPrefix($0.path) : file.path == $0.path
            }
    } check: { file in
        file.code.tokens.filter { $0.text == "unsafe" }.map {
            file.violation($0.line, "unsafe code; move it, or name this file and why in TidyTests")
        }
    }

    static let crashes = Rule("Nothing is unwrapped or tried by force") {
        $0.isSource && $0.isSwift
    } check: { file in
        let tokens = file.code.tokens
        return tokens.indices.compactMap { index in
            let token = tokens[index]
            if token.text == "fatalError" {
                return file.violation(
                    token.line, "fatalError; preconditionFailure says whose fault")
            }
            guard token.text == "!", token.isGlued else { return nil }
            let before = tokens[index - 1]
            guard before.isWord || [")", "]", "}", "?", ">", "\"", "`"].contains(before.text) else {
                return nil
            }
            // `a != b` has its blanks, but `a!=b` is a comparison as well.
            if index + 1 < tokens.count, tokens[index + 1].text == "=", tokens[index + 1].isGlued {
                return nil
            }
            switch before.text {
            case "try": return file.violation(token.line, "try!")
            case "as": return file.violation(token.line, "as!")
            default: return file.violation(token.line, "\(before.text)! unwraps by force")
            }
        }
    }

    static let printing = Rule("Only the command line prints") {
        $0.isSource && $0.isSwift && $0.module != "RingMirrorCLI"
    } check: { file in
        let tokens = file.code.tokens
        return tokens.indices.compactMap { index in
            guard ["print", "debugPrint", "dump"].contains(tokens[index].text),
                index + 1 < tokens.count, tokens[index + 1].text == "("
            else { return nil }
            if index > 0, [".", "func"].contains(tokens[index - 1].text) { return nil }
            return file.violation(tokens[index].line, "\(tokens[index].text) in a library")
        }
    }

    /// Written in pieces, so that this file does not break its own rules.
    static let leftoverWords = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]

    static let leftovers = Rule("Nothing is left for later in a comment") { _ in
        true
    } check: { file in
        file.lines.enumerated().flatMap { index, line in
            leftoverWords.filter { line.containsWord($0) }.map {
                file.violation(index + 1, "\($0); do it, or file an issue")
            }
        }
    }

    static let uncheckedFlag = "-O" + "unchecked"

    static let uncheckedBuilds = Rule("Nothing is built without preconditions") {
        // The documents may say what is forbidden.
        !$0.path.hasSuffix(".md")
    } check: { file in
        file.lines.enumerated().filter { $1.contains(uncheckedFlag) }.map { index, _ in
            file.violation(index + 1, "\(uncheckedFlag) deletes preconditions and what they do")
        }
    }

    static let machineFolders = [
        "ho" + "me", "ro" + "ot", "Us" + "ers", "wo" + "rk", "tmp/" + "wt",
    ]

    static let machinePaths = Rule("No path of somebody's machine") { _ in
        true
    } check: { file in
        file.lines.enumerated().flatMap { index, line in
            machineFolders.filter { line.containsPath("/\($0)/") }.map {
                file.violation(index + 1, "/\($0)/ is a path of one machine")
            }
        }
    }
}

extension Substring {
    func containsWord(_ word: String) -> Bool {
        ranges(of: word).contains { range in
            let before = range.lowerBound > startIndex ? self[index(before: range.lowerBound)] : " "
            let after = range.upperBound < endIndex ? self[range.upperBound] : " "
            return !before.isPartOfWord && !after.isPartOfWord
        }
    }

    /// Whether an absolute path starts like this; a part of a longer or relative one doesn't.
    func containsPath(_ start: String) -> Bool {
        ranges(of: start).contains { range in
            guard range.lowerBound > startIndex else { return true }
            let before = self[index(before: range.lowerBound)]
            return !before.isPartOfWord && !".~)}*".contains(before)
        }
    }
}

extension Character {
    fileprivate var isPartOfWord: Bool { isLetter || isNumber || self == "_" }
}
