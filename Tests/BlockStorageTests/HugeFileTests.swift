import Glibc
import SystemPackage
import Testing

@testable import BlockStorage

/// Files at the end of the range that a number has. They are sparse, and in memory: disks'
/// filesystems have a lower limit.
@Suite struct HugeFileTests {
    private func opened(_ size: Int64) throws -> StorageDevice? {
        let path = "/dev/shm/ringmirror-test-\(getpid())-\(size)"
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        try #require(descriptor >= 0)
        defer {
            close(descriptor)
            unlink(path)
        }
        try #require(ftruncate(descriptor, Int(size)) == 0)
        return try StorageDevice.openSource(FilePath(path))
    }

    @Test(.enabled(if: access("/dev/shm", W_OK) == 0))
    func `the largest files are refused`() throws {
        #expect(try opened(Int64.max - (4 << 30))?.geometry.size == Int64.max - (4 << 30))
        for size in [Int64.max, Int64.max - 511, Int64.max - (4 << 30) + 1] {
            let error = #expect(throws: StorageError.self) { _ = try opened(size) }
            #expect(error?.description.contains("are the most") == true, "\(size)")
        }
    }
}
