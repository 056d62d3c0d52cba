package import BlockStorage

/// Changes the clusters of an image that hold no data of the disk, in an order that leaves the
/// image valid whenever the process dies: at worst, clusters are counted that nobody refers to.
///
/// Any thread may call it.
package protocol MetadataWriter: AnyObject, Sendable {
    var file: any ImageFile { get }
    /// As it is on stable storage.
    var header: Header { get }
    /// Reserves clusters that lie side by side. Their refcounts are on stable storage when this
    /// returns; what they hold is anything.
    ///
    /// - Returns: the offset of the first.
    func allocate(clusters: Int) throws(StorageError) -> Int64
    /// Takes one reference from clusters to which nothing on stable storage refers any more.
    func free(offset: Int64, clusters: Int) throws(StorageError)
    /// Replaces the header in one write, between two flushes of the file.
    func update(_ header: Header) throws(StorageError)
}
