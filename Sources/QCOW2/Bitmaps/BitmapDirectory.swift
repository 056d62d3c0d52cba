internal import BlockStorage
internal import SystemPackage

/// The list of an image's bitmaps, as much of it as can be read.
struct BitmapDirectory: Sendable {
    static let countMax = 65535
    static let byteCountMax: Int64 = 1024 * 65535
    static let staleNote =
        "It had bitmaps, and a program that does not know bitmaps has changed the image since: "
        + "they are lost. Add them again, and mirror everything once."

    /// 0: there is none.
    var offset: Int64 = 0
    var byteCount: Int64 = 0
    /// In the order of the image.
    var entries: [BitmapEntry] = []
    /// Why it could not be read to its end; nil: it could.
    var flaw: ImageProblem?
    /// The image has the extension, and the feature bit says that it isn't true any more.
    var isStale = false

    func indices(of name: [UInt8]) -> [Int] { entries.indices.filter { entries[$0].name == name } }

    /// The bytes of a directory of these entries.
    static func encoded(_ entries: [BitmapEntry]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(entries.reduce(0) { $0 + $1.byteCount })
        for entry in entries { entry.append(to: &bytes) }
        return bytes
    }

    /// The data of the header extension that leads to a directory.
    static func headerExtension(count: Int, byteCount: Int, offset: Int64) -> [UInt8] {
        var data = [UInt8](repeating: 0, count: 24)
        data.put(UInt32(count), at: 0)
        data.put(UInt64(byteCount), at: 8)
        data.put(UInt64(offset), at: 16)
        return data
    }
}

extension BitmapDirectory {
    /// Reads the directory of an image. What is wrong with it is no error: it is in `flaw`, or in
    /// that of an entry.
    ///
    /// - Throws: only what the system says.
    static func read(
        _ header: Header, _ file: any ImageFile
    ) throws(StorageError) -> BitmapDirectory {
        var directory = BitmapDirectory()
        guard let data = header.data(of: .bitmaps) else { return directory }
        // Others can't open the image then, whatever the feature bit says.
        guard data.count == 24 else {
            directory.flaw = .brokenDirectory(
                file.path, at: nil, "its header extension has \(data.count) bytes and not 24")
            return directory
        }
        guard header.autoclear.contains(.bitmaps) else {
            directory.isStale = true
            return directory
        }
        let fileLength = try file.length()
        guard let count = directory.readExtension(data, header, fileLength, file.path) else {
            return directory
        }
        let bytes = try file.read(at: directory.offset, count: Int(directory.byteCount))
        guard bytes.count == Int(directory.byteCount) else {
            directory.flaw = .brokenDirectory(
                file.path, at: directory.offset, "the file ends before it does")
            return directory
        }
        directory.readEntries(bytes, count: count, path: file.path)
        directory.findFlaws(header, fileLength, file.path)
        return directory
    }

    /// - Returns: the number of bitmaps; nil if the extension makes no sense.
    private mutating func readExtension(
        _ data: [UInt8], _ header: Header, _ fileLength: Int64, _ path: FilePath
    ) -> Int? {
        func broken(_ what: String) -> ImageProblem { .brokenDirectory(path, at: nil, what) }
        let count = Int(data.bigEndian32(at: 0))
        let size = data.bigEndian64(at: 8)
        let start = data.bigEndian64(at: 16)
        let unaligned = start & UInt64(header.clusterSize - 1)
        if data.bigEndian32(at: 4) != 0 {
            flaw = broken("its header extension has an unknown field")
        } else if count == 0 || count > Self.countMax {
            flaw = broken("it can't have \(count) bitmaps")
        } else if size == 0 || size > UInt64(Self.byteCountMax) {
            flaw = broken("it can't have \(size) bytes")
        } else if start == 0 || unaligned != 0 || start >= EntryBits.offsetLimit
            || Int64(start) > fileLength - Int64(size)
        {
            flaw = broken(
                "\(size) bytes at \(start) can't be it in a file of \(fileLength) bytes")
        }
        guard flaw == nil else { return nil }
        offset = Int64(start)
        byteCount = Int64(size)
        return count
    }

    private mutating func readEntries(_ bytes: [UInt8], count: Int, path: FilePath) {
        var position = 0
        while position < bytes.count {
            let place = offset + Int64(position)
            guard entries.count < count else {
                flaw = .brokenDirectory(
                    path, at: place, "it goes on behind the \(count) bitmaps that the header names")
                return
            }
            guard bytes.count - position >= BitmapEntry.fixedBytes else {
                flaw = .brokenDirectory(path, at: place, "its last entry is cut off")
                return
            }
            var entry = BitmapEntry()
            entry.offset = place
            entry.tableOffset = bytes.bigEndian64(at: position)
            entry.tableEntryCount = bytes.bigEndian32(at: position + 8)
            entry.flags = BitmapEntry.Flags(rawValue: bytes.bigEndian32(at: position + 12))
            entry.type = bytes[position + 16]
            entry.granularityBits = bytes[position + 17]
            let nameBytes = Int(bytes.bigEndian16(at: position + 18))
            let extraBytes = Int(bytes.bigEndian32(at: position + 20))
            let length = BitmapEntry.byteCount(name: nameBytes, extraData: extraBytes)
            guard length <= bytes.count - position else {
                flaw = .brokenDirectory(
                    path, at: place, "an entry of \(length) bytes goes beyond its end")
                return
            }
            let extra = position + BitmapEntry.fixedBytes
            entry.extraData = Array(bytes[extra..<(extra + extraBytes)])
            entry.name = Array(bytes[(extra + extraBytes)..<(extra + extraBytes + nameBytes)])
            entries.append(entry)
            position += length
        }
        if entries.count < count {
            flaw = .brokenDirectory(
                path, at: offset,
                "it has \(entries.count) bitmaps, and the header names \(count)")
        }
    }

    private mutating func findFlaws(_ header: Header, _ fileLength: Int64, _ path: FilePath) {
        var first: [[UInt8]: Int] = [:]
        for index in entries.indices {
            let entry = entries[index]
            entries[index].flaw = entry.findFlaw(header, fileLength: fileLength, path: path)
            guard let other = first.updateValue(index, forKey: entry.name) else { continue }
            // Nobody can tell which of them is meant.
            for twin in [other, index] where entries[twin].flaw == nil {
                entries[twin].flaw = .brokenBitmap(
                    path, at: entries[twin].offset, name: entry.shownName,
                    "another one has the same name")
            }
        }
    }
}
