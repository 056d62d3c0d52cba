import Foundation

/// A text file of the repository.
struct SourceFile: Sendable {
    /// From the top of the repository, with slashes: `Sources/Ring/Ring.swift`.
    let path: String
    let text: String
    let lines: [Substring]
    /// The same lines without comments and the text of strings; Swift files only.
    let code: SwiftCode

    init(path: String, text: String) {
        self.path = path
        self.text = text
        // By scalars: to a string, "\r\n" is one character, and no line break of ours.
        lines = text.unicodeScalars
            .split(separator: "\n", omittingEmptySubsequences: false).map(Substring.init)
        code = SwiftCode(path.hasSuffix(".swift") ? text : "")
    }

    var isSwift: Bool { path.hasSuffix(".swift") }
    var isSource: Bool { path.hasPrefix("Sources/") }
    var isTest: Bool { path.hasPrefix("Tests/") }

    /// `Ring` for `Sources/Ring/Ring.swift`.
    var module: String? {
        let parts = path.split(separator: "/")
        return isSource && parts.count > 2 ? String(parts[1]) : nil
    }
}

enum SourceTree {
    static let root: URL = {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        return url
    }()

    /// Every text file that people write, by path. What is built, measured or fetched is left out.
    static let files: [SourceFile] = {
        var files: [SourceFile] = []
        collect("", into: &files)
        return files.sorted { $0.path < $1.path }
    }()

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path)
    }

    private static let skippedFolders: Set = [".git", "results", "demo", "__pycache__"]
    private static let extensions: Set = ["swift", "h", "modulemap", "md", "py", "sh", "yml", "c"]
    private static let names: Set = ["Makefile", ".gitignore", ".swift-format", "run"]

    private static func collect(_ folder: String, into files: inout [SourceFile]) {
        let url = root.appendingPathComponent(folder)
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
        for name in entries {
            let path = folder.isEmpty ? name : folder + "/" + name
            let full = root.appendingPathComponent(path)
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: full.path, isDirectory: &isFolder) else {
                continue
            }
            if isFolder.boolValue {
                if skippedFolders.contains(name) || name.hasPrefix(".build") { continue }
                collect(path, into: &files)
            } else if extensions.contains(full.pathExtension) || names.contains(name) {
                guard let data = FileManager.default.contents(atPath: full.path) else { continue }
                files.append(SourceFile(path: path, text: String(decoding: data, as: UTF8.self)))
            }
        }
    }
}
