internal import SystemPackage

/// A container that a disk may be kept in and that this program does not read: copied byte by byte
/// it makes a disk that nothing can use.
package struct ForeignFormat: Sendable, Equatable {
    /// What it is called, with its article: `a VMDK image`.
    package let name: String
    /// The command that makes a raw disk of the file `FILE`.
    package let conversion: String

    /// Bytes at both ends of a file that recognising takes.
    package static let lookLength = 512

    /// Recognises by what a file begins and ends with; only by numbers that no disk has by chance.
    ///
    /// - Parameter name: the file's own, without folders: it decides where a number is too short.
    package static func recognise(
        beginning: [UInt8], end: [UInt8], name: String
    ) -> ForeignFormat? {
        let mark = marks.first { mark in
            let place = mark.isAtEnd ? end : beginning
            return place.dropFirst(mark.offset).starts(with: mark.bytes)
        }
        return mark?.format ?? recognise(shapeOf: beginning, named: name)
    }

    private struct Mark {
        let bytes: [UInt8]
        let format: ForeignFormat
        var offset = 0
        var isAtEnd = false
    }

    private static func image(
        _ name: String, _ driver: String, _ bytes: [UInt8], at offset: Int = 0,
        isAtEnd: Bool = false
    ) -> Mark {
        Mark(
            bytes: bytes,
            format: ForeignFormat(
                name: name, conversion: "qemu-img convert -f \(driver) -O raw FILE disk.raw"),
            offset: offset, isAtEnd: isAtEnd)
    }

    private static func packed(
        _ name: String, _ command: String, _ bytes: [UInt8], at offset: Int = 0,
        isAtEnd: Bool = false
    ) -> Mark {
        Mark(
            bytes: bytes, format: ForeignFormat(name: name, conversion: command), offset: offset,
            isAtEnd: isAtEnd)
    }

    private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static let marks: [Mark] =
        [
            image("a VMDK image", "vmdk", text("KDMV")),
            image("a VMDK image", "vmdk", text("COWD")),
            image("a VMDK descriptor", "vmdk", text("# Disk DescriptorFile")),
            image("a VDI image", "vdi", [0x7f, 0x10, 0xda, 0xbe], at: 64),
            image("a VHDX image", "vhdx", text("vhdxfile")),
            image("a VHD image", "vpc", text("conectix")),
            // One of fixed size has nothing but a footer.
            image("a VHD image", "vpc", text("conectix"), isAtEnd: true),
            image("a QED image", "qed", text("QED") + [0]),
            image("a qcow image of version 1", "qcow", text("QFI") + [0xfb, 0, 0, 0, 1]),
            image("a Parallels image", "parallels", text("WithoutFreeSpace")),
            image("a Parallels image", "parallels", text("WithouFreSpacExt")),
            image("a DMG image", "dmg", text("koly"), isAtEnd: true),
            image("a cloop image", "cloop", text("#!/bin/sh") + [0x0a] + text("#V2.0 Format")),
        ] + packages

    private static let packages: [Mark] =
        [
            packed(
                "a LUKS container, of which the plain disk is seen only when it is unlocked",
                "cryptsetup open FILE name", text("LUKS") + [0xba, 0xbe]),
            packed("compressed by gzip", "gunzip -k FILE", [0x1f, 0x8b, 0x08]),
            packed("compressed by xz", "unxz -k FILE", [0xfd] + text("7zXZ") + [0]),
            packed("compressed by zstd", "unzstd FILE", [0x28, 0xb5, 0x2f, 0xfd]),
            packed("compressed by lz4", "unlz4 FILE", [0x04, 0x22, 0x4d, 0x18]),
            packed("compressed by lzip", "lzip -dk FILE", text("LZIP") + [1]),
            packed(
                "compressed by lzop", "lzop -d FILE", [0x89] + text("LZO") + [0, 0x0d, 0x0a, 0x1a]),
        ]
        + (UInt8(ascii: "1")...UInt8(ascii: "9")).map { level in
            packed(
                "compressed by bzip2", "bunzip2 -k FILE",
                text("BZh") + [level, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
        } + [
            packed("a zip archive", "unzip FILE", text("PK") + [3, 4]),
            packed("a 7z archive", "7z x FILE", text("7z") + [0xbc, 0xaf, 0x27, 0x1c]),
            packed("a tar archive (OVA)", "tar -xf FILE", text("ustar") + [0], at: 257),
            Mark(bytes: text("ustar  ") + [0], format: tar, offset: 257),
            // "The RAR 5.0 archive format" by RARLAB, and technote.txt of the versions before.
            packed("a RAR archive", "unrar x FILE", text("Rar!") + [0x1a, 0x07, 0x00]),
            packed("a RAR archive", "unrar x FILE", text("Rar!") + [0x1a, 0x07, 0x01, 0x00]),
            // "Windows Imaging File Format" by Microsoft; the other one, which can be piped, is
            // wimlib's (its pipable.c).
            packed("a WIM archive", "7z x FILE", text("MSWIM") + [0, 0, 0]),
            packed("a WIM archive", "wimapply FILE folder", text("WLPWM") + [0, 0, 0]),
            packed("an Android sparse image", "simg2img FILE disk.raw", [0x3a, 0xff, 0x26, 0xed]),
            packed(
                "a partclone image", "partclone.restore -s FILE -o disk.raw",
                text("partclone-image")),
            packed(
                "an EnCase image", "ewfexport FILE", text("EVF") + [0x09, 0x0d, 0x0a, 0xff, 0]),
        ]
        // The manual page cpio(5): of this age, and of the two newer ones. The old binary kind has
        // two bytes, which are too few.
        + ["070707", "070701", "070702"].map { number in
            packed("a cpio archive", "cpio -id < FILE", text(number))
        }
}

extension StorageDevice {
    /// The container that this image file is, as far as it is known. Nil for a disk, whose bytes
    /// are a disk whatever they begin with, and for what can't be read: who copies it will say why.
    package var foreignFormat: ForeignFormat? {
        let length = Int64(ForeignFormat.lookLength)
        guard kind == .image,
            let beginning = try? SystemCalls.read(
                bufferedDescriptor, at: 0, count: ForeignFormat.lookLength),
            let end = try? SystemCalls.read(
                bufferedDescriptor, at: max(0, geometry.size - length),
                count: ForeignFormat.lookLength)
        else { return nil }
        return .recognise(
            beginning: beginning, end: end, name: path.lastComponent?.string ?? "")
    }
}
