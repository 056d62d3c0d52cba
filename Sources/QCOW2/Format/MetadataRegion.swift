/// A stretch of an image's file that holds no data of the disk.
struct MetadataRegion: Sendable, Equatable {
    let range: Range<Int64>
    let what: String
}
