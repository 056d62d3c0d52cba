import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Without proc or sysfs nothing is proven, so nothing is opened, and nothing is a crash.
@Suite struct BlindTests {
    private func missing(_ body: () throws -> Void) -> String? {
        do {
            try body()
        } catch StorageError.refused(.unverifiable(_, let missing)) {
            return missing
        } catch {
            Issue.record(error)
        }
        return nil
    }

    @Test(arguments: ["sysfs", "proc"])
    func `nothing is opened`(hidden: String) throws {
        let machine = try Fixture()
        if hidden == "proc" { try machine.device("sda", 8, 0) }
        let scratch = try Scratch()
        if hidden == "proc" { try machine.hide("/proc") }
        let view = machine.view
        let path = FilePath(try scratch.file("image", size: 4096))
        let name = hidden == "proc" ? "/proc/self/mountinfo" : "/sys/class/block"
        #expect(
            missing { _ = try StorageDevice.openSource(path, options: .init(), view: view) }
                == name)
        #expect(
            missing { _ = try StorageDevice.openForChange(path, apartFrom: [], view: view) }
                == name)
        let new = FilePath(scratch.path("new"))
        #expect(
            missing {
                _ = try StorageDevice.openTarget(
                    new, apartFrom: [], size: 4096, options: TargetOptions(create: true),
                    content: .disk, view: view)
            } == name)
        #expect(throws: StorageError.notFound(path: new)) { try StorageDevice.openSource(new) }
    }

    @Test func `a witness is empty`() throws {
        let machine = try Fixture()
        let witness = machine.view.witness(of: DeviceNumber(major: 8, minor: 0), size: 512)
        #expect(witness == WriteWitness(size: 512))
    }
}
