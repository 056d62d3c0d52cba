@testable import ChangeMap
import Testing

@Test func smoke() throws {
    let map = try ChangeMap.read(Array("0 512\n".utf8), name: "a", deviceSize: 4096)
    #expect(map.format == .ranges)
}
