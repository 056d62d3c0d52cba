internal import SystemPackage

/// Runs the guards on an open descriptor, in the order in which their messages help most.
struct GuardRunner {
    let view: SystemView

    /// - Returns: what the reader of a report should know.
    func checkSource(
        _ source: OpenedObject, options: SourceOptions
    ) throws(StorageError) -> [String] {
        if !source.isClaimed && !options.allowSourceInUse {
            throw .refused(.sourceInUse(source: source.path, uses: []))
        }
        return []
    }

    func checkTarget(_ target: OpenedObject, for source: StorageDevice) throws(StorageError) {
        if !target.isClaimed {
            throw .refused(.targetInUse(target: target.path, uses: []))
        }
    }

    func checkContent(
        of target: OpenedObject, for source: StorageDevice, options: TargetOptions
    ) throws(StorageError) {
    }
}
