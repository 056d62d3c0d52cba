public import ArgumentParser
public import RingMirror

/// What SOURCE is kept in.
struct SourceFormatOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What SOURCE is (default: by its name and content).",
            discussion: """
                What is named *.qcow2 and begins like one is one. What only begins like one is \
                refused: whatever writes to a raw disk could make it look so.
                """, valueName: "format"))
    var sourceFormat: ImageFormat?

    @OptionGroup var files: NamedFileOptions
}

/// Whether an image may lead to other files.
struct NamedFileOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Open no file but the one that is named.",
            discussion: """
                A qcow2 image can name any file of this machine as its backing file or data file. \
                With this, one that needs another file is refused, be it read or written: for \
                images from strangers.
                """))
    var noBacking = false
}

/// What TARGET is kept in, and how a new one is made.
struct TargetFormatOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What TARGET is or becomes (default: by its name and content).", valueName: "format"))
    var targetFormat: ImageFormat?

    @Option(help: TargetFormatOptions.clusterSizeHelp)
    var clusterSize: ByteSize?

    static let clusterSizeHelp = ArgumentHelp(
        "Bytes in a cluster of a new qcow2 image, a power of two from 512 to 2M (default: 64K).",
        valueName: "size")

    @Option(
        help: ArgumentHelp(
            "The backing file of a new qcow2 image (default: none).",
            discussion: """
                A relative name is relative to the new image. Where the mirror writes nothing, the \
                image reads as its backing file does.
                """, valueName: "file"), completion: .file())
    var backing: PathArgument?

    @Option(
        help: ArgumentHelp(
            "What the backing file is. Required with --backing.", valueName: "format"))
    var backingFormat: ImageFormat?

    @Flag(help: "Leave the counting of clusters in a new qcow2 image to its next user.")
    var lazyRefcounts = false

    @Option(
        help: ArgumentHelp(
            "Give a new qcow2 image all its tables, and clusters in order, at once.",
            valueName: "what"))
    var preallocate: Preallocation?

    @Flag(help: "Allocate in 1/32 of a cluster in a new qcow2 image (extended L2).")
    var extendedL2 = false

    enum Preallocation: String, ExpressibleByArgument, CaseIterable { case metadata }

    /// The format of a target that is made.
    func format(forNew target: PathArgument) -> ImageFormat {
        targetFormat ?? ImageFormat(forNew: target.path)
    }

    /// What the rules about these options have to know.
    ///
    /// - Parameters:
    ///   - create: whether TARGET is made.
    ///   - files: which files may be opened.
    func rules(create: Bool, target: PathArgument, _ files: NamedFileOptions) -> NewImageRules {
        NewImageRules(
            create: create,
            isQCOW2: format(forNew: target) == .qcow2,
            isAsked: clusterSize != nil || backing != nil || lazyRefcounts || preallocate != nil
                || extendedL2,
            backing: backing, hasBackingFormat: backingFormat != nil,
            noBacking: files.noBacking, preallocates: preallocate != nil)
    }

    /// How a new image of so many bytes is made.
    func newImage(size: Int64) -> NewImageOptions {
        var options = NewImageOptions(size: size)
        if let clusterSize { options.clusterSize = clusterSize.bytes }
        options.backingFile = backing?.utf8
        options.backingFormat = backingFormat?.rawValue
        options.lazyRefcounts = lazyRefcounts
        options.preallocatesMetadata = preallocate == .metadata
        options.extendedL2 = extendedL2
        return options
    }
}

extension ImageFormat: ExpressibleByArgument {}
