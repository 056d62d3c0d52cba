import SystemPackage
import Testing

@testable import BlockStorage

@Suite struct RemedyTests {
    private let remedy: Remedy =
        "Check \(FilePath("/x")) first, then \(.overwrite). \(.create), or \(.allowLarger)."

    @Test func `a front end calls the ways by its own names`() {
        let text = remedy.text { way in
            switch way {
            case .overwrite: "pass -f"
            case .create: "pass -c"
            default: "pass -l"
            }
        }
        #expect(text == "Check /x first, then pass -f. Pass -c, or pass -l.")
        #expect(remedy.ways == [.overwrite, .create, .allowLarger])
    }

    @Test func `a way begins a sentence with a capital`() {
        #expect(Remedy("\(.create).").text { _ in "make it" } == "Make it.")
        #expect(Remedy("Or \(.create).").text { _ in "make it" } == "Or make it.")
    }

    @Test func `remedies stand in each other`() {
        let outer: Remedy = "Else \(remedy)"
        #expect(outer.ways == remedy.ways)
        #expect(outer.description == "Else \(remedy.description)")
        #expect(Remedy.none.isEmpty && Remedy("").isEmpty && !remedy.isEmpty)
    }

    @Test func `an error is its problem and its remedy`() {
        let error = StorageError.systemCall(
            call: "read", path: "/x", code: .ioError, offset: 512)
        #expect(error.problem == "/x: read at offset 512 failed: Input/output error")
        #expect(error.description == "\(error.problem). \(error.remedy)")
        #expect(error.offset == 512 && error.path == "/x" && error.code == .systemCall)
        let bare = StorageError.systemCall(call: "read", path: "/x", code: .badAddress)
        #expect(bare.remedy.isEmpty && bare.description == bare.problem)
    }
}
