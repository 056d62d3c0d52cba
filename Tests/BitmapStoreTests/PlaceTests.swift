import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

@Suite struct PlaceTests {
    @Test func `the state directory is where the environment and the user say`() {
        func place(_ isRoot: Bool, _ variables: [String: FilePath]) -> FilePath {
            StorePlace.stateDirectory(isRoot: isRoot) { variables[$0] }
        }
        #expect(place(true, [:]) == "/var/lib/ringmirror")
        #expect(place(true, ["RINGMIRROR_STATE_DIR": "/x"]) == "/x")
        let odd = [CChar](arrayLiteral: 0x2f, -1, 0)
        let bytes = FilePath(platformString: odd)
        #expect(place(true, ["RINGMIRROR_STATE_DIR": bytes]) == bytes)
        setenv("RINGMIRROR_TEST_PLACE", odd, 1)
        #expect(StoreCalls.environment("RINGMIRROR_TEST_PLACE") == bytes)
        #expect(
            place(false, ["RINGMIRROR_STATE_DIR": "", "HOME": "/me"])
                == "/me/.local/state/ringmirror")
        #expect(place(false, ["XDG_STATE_HOME": "/s", "HOME": "/me"]) == "/s/ringmirror")
        #expect(
            place(false, ["XDG_STATE_HOME": "s", "HOME": "/me"]) == "/me/.local/state/ringmirror")
    }

    @Test func `an image has one store, whatever link it is named by`() throws {
        let scratch = try Scratch()
        let image = try scratch.file("disk.img", size: 4096)
        symlink(image, scratch.path("link"))
        let place = FilePath(image + ".bitmaps")
        #expect(StorePlace.path(image: FilePath(image)) == place)
        #expect(StorePlace.path(image: FilePath(scratch.path("link"))) == place)
        let device = try StorageDevice.openSource(FilePath(scratch.path("link")))
        #expect(StorePlace.path(for: device) == place)
    }

    @Test func `directories are made for their owner alone, and once`() throws {
        let scratch = try Scratch()
        let store = FilePath(scratch.path("a/b/store"))
        try StorePlace.makeDirectory(for: store)
        try StorePlace.makeDirectory(for: store)
        var status = stat()
        #expect(stat(scratch.path("a/b"), &status) == 0 && status.st_mode & 0o777 == 0o700)
        #expect(throws: BitmapStoreError.self) {
            try scratch.file("file", size: 0)
            try StorePlace.makeDirectory(for: FilePath(scratch.path("file/b/store")))
        }
    }
}
