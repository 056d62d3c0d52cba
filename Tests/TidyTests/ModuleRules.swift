/// Who may know whom: section 2 of the design as a table.
enum Modules {
    private static let ours = [
        "DirtyBitmap", "Ring", "BlockStorage", "QCOW2", "BitmapStore", "ChangeMap",
        "KernelTracking", "Freezing", "MirrorEngine",
    ]

    /// What each module may import. A module that isn't here may not exist: whoever adds one says
    /// here what it knows.
    static let allowedImports: [String: Set<String>] = [
        "DirtyBitmap": ["Synchronization"],
        "ChangeMap": ["DirtyBitmap", "FoundationEssentials"],
        "Ring": ["CLiburing", "CLinux", "Glibc"],
        "BlockStorage": [
            "CLinux", "CBlkid", "DirtyBitmap", "Ring", "Glibc", "SystemPackage",
            "Synchronization",
        ],
        "QCOW2": [
            "CZlib", "CZstd", "DirtyBitmap", "BlockStorage", "Glibc", "SystemPackage",
            "Synchronization",
        ],
        "BitmapStore": [
            "CLinux", "DirtyBitmap", "BlockStorage", "Glibc", "SystemPackage", "Synchronization",
        ],
        "KernelTracking": [
            "CBPF", "CLinux", "DirtyBitmap", "BlockStorage", "Glibc", "SystemPackage",
            "Synchronization",
        ],
        "Freezing": ["CLinux", "BlockStorage", "Glibc", "SystemPackage", "Synchronization"],
        "MirrorEngine": [
            "DirtyBitmap", "Ring", "BlockStorage", "QCOW2", "BitmapStore", "KernelTracking",
            "Freezing", "Glibc", "Logging", "SystemPackage", "Synchronization",
        ],
        "RingMirror": Set(ours + ["SystemPackage"]),
        "RingMirrorCLI": [
            "RingMirror", "CProcess", "ArgumentParser", "Logging", "SystemPackage",
            "Synchronization", "Glibc", "FoundationEssentials",
        ],
        "CLiburing": [], "CBPF": [], "CLinux": [], "CProcess": [], "CBlkid": [], "CZlib": [],
        "CZstd": [],
    ]

    /// What comes with the compiler or the C library, so that a package does not declare it.
    static let toolchain: Set = [
        "Glibc", "Synchronization", "Foundation", "FoundationEssentials",
    ]
}

extension Rule {
    static let imports = Rule("Modules know only the modules below them") {
        $0.isSwift && $0.module != nil
    } check: { file in
        guard let module = file.module, let allowed = Modules.allowedImports[module] else {
            return [file.violation(1, "\(file.module ?? "") is not in TidyTests' table of modules")]
        }
        return file.code.imports.filter { !allowed.contains($0.text) }.map {
            file.violation($0.line, "\(module) may not know \($0.text)")
        }
    }
}

extension Rule {
    /// What a header may read: both give types of the compiler's own.
    private static let freestanding: Set<Substring> = ["<stdint.h>", "<stddef.h>"]

    static let headers = Rule("C modules bring none of the system's headers") {
        ($0.isSource && $0.isForImport) || $0.path == "Package.swift"
    } check: { file in
        if file.path.hasSuffix(".modulemap") {
            return [file.violation(1, "a module map; SwiftPM makes that of the headers in include")]
        }
        return file.lines.enumerated().compactMap { index, line in
            if !file.path.hasSuffix(".h") {
                return line.contains(".systemLibrary(")
                    ? file.violation(index + 1, "a library by its own headers; wrap it") : nil
            }
            guard let target = included(line), !freestanding.contains(target) else { return nil }
            let name = target.dropFirst().dropLast()
            let neighbour =
                file.path.split(separator: "/").dropLast().joined(separator: "/")
                + "/" + name
            if target.first == "\"", !name.contains("/"), SourceTree.exists(neighbour) {
                return nil
            }
            return file.violation(
                index + 1, "\(target); the toolchain's modules own the system's headers")
        }
    }

    /// What a line of a header reads, with its quotes; nil if it reads nothing.
    private static func included(_ line: Substring) -> Substring? {
        let text = line.drop { $0 == " " }
        guard text.first == "#" else { return nil }
        let directive = text.dropFirst().drop { $0 == " " }
        let word = directive.prefix { $0.isLetter || $0 == "_" }
        guard ["include", "include_next", "import"].contains(word) else { return nil }
        let target = directive.dropFirst(word.count).drop { $0 == " " }
        guard let first = target.first else { return target }
        let end = target.dropFirst().firstIndex(of: first == "<" ? ">" : first)
        return end.map { target[...$0] } ?? target
    }
}

extension SourceFile {
    /// Whether Swift reads this where it imports a C module.
    fileprivate var isForImport: Bool {
        path.hasSuffix(".modulemap") || (path.hasSuffix(".h") && path.contains("/include/"))
    }
}

/// What Package.swift declares, as far as its own small functions let a text search see it.
struct PackageManifest {
    struct Target: Equatable {
        let name: String
        let line: Int
        let dependencies: [String]
    }

    let targets: [Target]

    init(_ text: String) {
        let targetList = text.ranges(of: "targets: [").last?.upperBound ?? text.startIndex
        let lineOffset = text[..<targetList].count { $0 == "\n" }
        var targets: [Target] = []
        var rest = text[targetList...]
        let starts = ["module(", ".executableTarget(", ".target(", "tests("]
        while let start = starts.compactMap({ rest.firstRange(of: $0) }).min(by: {
            $0.lowerBound < $1.lowerBound
        }) {
            let call = rest[start.upperBound...]
            let line = text[targetList..<start.lowerBound].count { $0 == "\n" }
            let names = Self.strings(call.prefix { $0 != "[" })
            let list = Self.firstList(call)
            if let name = names.first {
                targets.append(
                    Target(
                        name: name, line: lineOffset + line + 1,
                        dependencies: Self.dependencies(list)))
            }
            rest = rest[list.endIndex...]
        }
        self.targets = targets
    }

    /// From the first bracket to the one that closes it.
    private static func firstList(_ text: Substring) -> Substring {
        guard let open = text.firstIndex(of: "[") else { return text.suffix(0) }
        var depth = 0
        for index in text[open...].indices {
            if text[index] == "[" { depth += 1 }
            if text[index] == "]" { depth -= 1 }
            if depth == 0 { return text[open...index] }
        }
        return text[open...]
    }

    private static func dependencies(_ list: Substring) -> [String] {
        // The name of a product's package is a string as well, but not a module.
        let packages = list.split(separator: "package: ").dropFirst().compactMap {
            strings($0).first
        }
        let names = strings(list).filter { !packages.contains($0) }
        return names + (list.contains("systemPackage") ? ["SystemPackage"] : [])
    }

    private static func strings(_ text: Substring) -> [String] {
        let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
        return stride(from: 1, to: parts.count, by: 2).map { String(parts[$0]) }
    }

    /// Where the manifest and the table, or the manifest and the sources, disagree.
    func violations(files: [SourceFile], path: String = "Package.swift") -> [Violation] {
        targets.flatMap { target -> [Violation] in
            let own = files.filter { $0.module == target.name && $0.isSwift }
            guard let allowed = Modules.allowedImports[target.name], !own.isEmpty else { return [] }
            let imported = Set(own.flatMap { $0.code.imports.map(\.text) })
            let declared = Set(target.dependencies)
            func list(_ modules: Set<String>, _ why: String) -> [Violation] {
                modules.sorted().map {
                    Violation(path: path, line: target.line, why: "\(target.name) \(why) \($0)")
                }
            }
            return list(declared.subtracting(allowed), "may not depend on")
                + list(
                    imported.subtracting(declared).subtracting(Modules.toolchain),
                    "imports without declaring it")
                + list(declared.subtracting(imported), "declares and never imports")
        }
    }
}
