internal import BlockStorage
package import SystemPackage

/// Who uses a disk, for those who wait until nobody does.
package struct DiskUseWatch: Sendable {
    private let disk: FilePath

    /// - Throws: `.notABlockDevice`, `.unseen`.
    package init(_ disk: FilePath) throws(FreezeError) {
        self.disk = disk
        _ = try Self.find(disk)
    }

    /// What has the disk, or what stands on it, mounted or open for writing, as phrases; empty:
    /// nothing. What can't be looked at counts as being used.
    package func users() -> [String] {
        do throws(FreezeError) {
            // Who is asked often is told of mounts, and no process needs to be looked at.
            let mounts = Self.names(try Self.find(disk, processes: false))
            return try mounts.isEmpty ? Self.names(Self.find(disk)) : mounts
        } catch {
            return [error.problem]
        }
    }

    private static func names(_ found: DiskUsers) -> [String] {
        found.filesystems.filter { !$0.isReadOnly }.map(\.description)
            + found.unfreezable.map(\.description) + found.swaps + found.writers.map { "\($0)" }
            + found.idleHolders.map(\.device) + found.unseen.map(\.device)
            + found.exports.map(\.device)
    }

    private static func find(
        _ disk: FilePath, processes: Bool = true
    ) throws(FreezeError) -> DiskUsers {
        let found: DiskUsers?
        do throws(DiskUsers.Blindness) {
            found = try DiskUsers.find(on: disk.string, processes: processes)
        } catch {
            throw .unseen(disk, missing: error.missing)
        }
        guard let found else { throw .notABlockDevice(disk) }
        return found
    }
}
