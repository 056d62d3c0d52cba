internal import SystemPackage

extension SystemView {
    /// Whether zeroing by command means zeros on all that a disk stands on: false if one of its
    /// loop devices lies on a file whose filesystem is not known for it; nil if there is none.
    ///
    /// A loop device makes a punched hole in its file of the command, with all that the filesystem
    /// makes of that.
    func loopsPunchHoles(under number: DeviceNumber) -> Bool? {
        var answer: Bool?
        var pending = [number]
        var visited: Set<DeviceNumber> = []
        while let number = pending.popLast() {
            guard visited.insert(number).inserted, let disk = diskDirectory(of: number) else {
                continue
            }
            pending += slaves(of: disk)
            guard let backing = loopFile(disk: disk) else { continue }
            if case .block(let below) = backing.identity {
                pending.append(below)
            } else if backingStatus(backing) != nil,
                filesystem(backing.path)?.punchesHoles == true
            {
                answer = answer ?? true
            } else {
                return false
            }
        }
        return answer
    }
}
