import RingMirror
import Testing

@testable import RingMirrorCLI

/// Which options don't go together. Each rule is broken once, by itself and next to what keeps it.
@Suite struct OptionRulesTests {
    /// An image that stands on another one.
    private static let overlay = NewImageRules(
        create: true, isQCOW2: true, isAsked: true, backing: PathArgument(argument: "base"),
        hasBackingFormat: true)

    private func rules(
        _ mode: JobMode, _ change: (inout MirrorRules) -> Void = { _ in }
    ) -> MirrorRules {
        var rules = MirrorRules(mode: mode)
        if mode == .incremental { rules.bitmap = "nightly" }
        change(&rules)
        return rules
    }

    @Test(arguments: JobMode.allCases)
    func `what each mirror takes`(mode: JobMode) {
        #expect(rules(mode).refusal == nil)
        #expect(rules(mode) { $0.image = Self.overlay }.refusal == nil)
        #expect(rules(mode) { $0.resume = true }.refusal == nil)
        #expect(rules(mode) { $0.resumeAuto = true }.refusal == nil)
        // With it the same line makes the target, and later resumes.
        let again = rules(mode) {
            $0.image = Self.overlay
            $0.resumeAuto = true
        }
        #expect(again.refusal == nil)
    }

    @Test func `an incremental mirror has one list of changes`() {
        let text = "say what is dirty: --bitmap NAME or --map FILE, one of them"
        let none = rules(.incremental) { $0.bitmap = nil }
        #expect(none.refusal == text)
        #expect(rules(.incremental) { $0.hasMap = true }.refusal == text)
        let map = rules(.incremental) {
            $0.bitmap = nil
            $0.hasMap = true
        }
        #expect(map.refusal == nil)
        // The record of an interrupted job knows it.
        let resumed = rules(.incremental) {
            $0.bitmap = nil
            $0.resume = true
        }
        #expect(resumed.refusal == nil)
        let auto = rules(.incremental) {
            $0.bitmap = nil
            $0.resumeAuto = true
        }
        #expect(auto.refusal == text)
    }

    @Test func `a comparison needs a target that is there, and no promise`() {
        #expect(rules(.full) { $0.onlyDifferences = true }.refusal == nil)
        let new = rules(.full) {
            $0.onlyDifferences = true
            $0.image = NewImageRules(create: true)
        }
        #expect(new.refusal?.contains("--create and --only-differences") == true)
        let zero = rules(.full) {
            $0.onlyDifferences = true
            $0.targetIsZero = true
        }
        #expect(zero.refusal?.contains("--target-is-zero") == true)
    }

    @Test func `options for a map go with one`() {
        let text =
            "--map-block-size, --map-thin-device and --map-peer say how a map is read: they go "
            + "with --map FILE"
        #expect(rules(.incremental) { $0.hasMapOptions = true }.refusal == text)
        let resumed = rules(.incremental) {
            $0.bitmap = nil
            $0.resume = true
            $0.hasMapOptions = true
        }
        #expect(resumed.refusal == text)
        let map = rules(.incremental) {
            $0.bitmap = nil
            $0.hasMap = true
            $0.hasMapOptions = true
        }
        #expect(map.refusal == nil)
        for option in ["--map-block-size=64K", "--map-thin-device=1", "--map-peer=0"] {
            let line = ["incremental", "a", "b", "--bitmap", "nightly", option]
            let error = #expect(throws: (any Error).self) {
                _ = try RingMirrorCommand.parseAsRoot(line)
            }
            let said = error.map { RingMirrorCommand.message(for: $0) }
            #expect(said?.contains("they go with --map FILE") == true, "\(said ?? "")")
        }
    }

    @Test func `a map is not resumed`() {
        let resumed = rules(.incremental) {
            $0.bitmap = nil
            $0.hasMap = true
            $0.resume = true
        }
        #expect(resumed.refusal == "--resume knows what is left: leave --map out")
        let auto = rules(.incremental) {
            $0.bitmap = nil
            $0.hasMap = true
            $0.resumeAuto = true
        }
        #expect(
            auto.refusal == "--resume=auto can't tell whether the interrupted mirror was by this "
                + "map: run --resume without --map, or leave --resume=auto out")
    }

    @Test func `a full mirror clears its bitmap, or has none`() {
        let never = rules(.full) {
            $0.bitmap = "nightly"
            $0.bitmapMode = .never
        }
        #expect(
            never.refusal == "a full mirror does nothing with a bitmap whose mode is never: leave "
                + "--bitmap out")
        let always = rules(.full) {
            $0.bitmap = "nightly"
            $0.bitmapMode = .always
        }
        #expect(always.refusal == nil)
        #expect(rules(.incremental) { $0.bitmapMode = .never }.refusal == nil)
    }

    @Test func `what is not copied comes from a backing file`() {
        let new = NewImageRules(create: true, isQCOW2: true)
        #expect(rules(.full) { $0.image = new }.refusal == nil)
        #expect(
            rules(.top) { $0.image = new }.refusal
                == "a new TARGET has nothing of what is below OVERLAY: say on what it stands with "
                + "--backing, or use `full`")
        #expect(
            rules(.incremental) { $0.image = new }.refusal
                == "a new TARGET holds no mirror yet: say on which one it stands with --backing, "
                + "or use `full`")
    }

    @Test(arguments: JobMode.allCases)
    func `a target is made or resumed`(mode: JobMode) {
        let both = rules(mode) {
            $0.image = Self.overlay
            $0.resume = true
        }
        #expect(
            both.refusal
                == "--resume goes on with a target that is there: leave --create out")
    }

    @Test func `only a full mirror writes to zeros`() {
        #expect(rules(.full) { $0.targetIsZero = true }.refusal == nil)
        #expect(
            rules(.top) { $0.targetIsZero = true }.refusal
                == "--target-is-zero can't be: the target of a top mirror holds what is below")
        #expect(
            rules(.incremental) { $0.targetIsZero = true }.refusal
                == "--target-is-zero can't be: the target of an incremental mirror holds a mirror")
    }

    @Test func `options of new images are for new images`() throws {
        let text =
            "--cluster-size, --backing, --lazy-refcounts, --preallocate and --extended-l2 are for "
            + "a new qcow2 image: they go with --create and --target-format qcow2"
        #expect(NewImageRules(create: true, isQCOW2: true, isAsked: true).refusal == nil)
        #expect(NewImageRules(create: true, isAsked: true).refusal == text)
        #expect(NewImageRules(isQCOW2: true, isAsked: true).refusal == text)
        #expect(NewImageRules().refusal == nil)
        // It is told before what else is wrong.
        #expect(rules(.full) { $0.image = NewImageRules(isAsked: true) }.refusal == text)
    }

    @Test func `a backing file is named with its format, and may be opened`() {
        let format =
            "--backing FILE goes with --backing-format raw or qcow2: a raw disk can look like "
            + "anything"
        var image = Self.overlay
        #expect(image.refusal == nil)
        image.hasBackingFormat = false
        #expect(image.refusal == format)
        #expect(NewImageRules(hasBackingFormat: true).refusal == format)
        image = Self.overlay
        image.noBacking = true
        #expect(
            image.refusal
                == "--backing FILE is opened, which --no-backing forbids: leave one of them out")
        #expect(NewImageRules(create: true, noBacking: true).refusal == nil)
        image = Self.overlay
        image.preallocates = true
        #expect(
            image.refusal
                == "--preallocate can't be with --backing: what is allocated hides what is below")
        image = Self.overlay
        image.backing = PathArgument(argument: ByteEscape.escape([98, -1]))
        #expect(image.refusal?.hasSuffix("can't name a file whose name is not UTF-8") == true)
    }

    @Test func `each mode is measured with what it needs`() {
        let bitmap = "--bitmap NAME goes with --mode incremental, which needs one"
        #expect(MeasureRules(mode: .full).refusal == nil)
        #expect(MeasureRules(mode: .top, hasBase: true).refusal == nil)
        let incremental = MeasureRules(mode: .incremental, hasBitmap: true, hasTarget: true)
        #expect(incremental.refusal == nil)
        #expect(MeasureRules(mode: .incremental).refusal == bitmap)
        #expect(MeasureRules(mode: .top, hasBitmap: true).refusal == bitmap)
        #expect(
            MeasureRules(mode: .full, hasTarget: true).refusal
                == "--target PATH goes with --mode incremental")
        #expect(
            MeasureRules(mode: .full, hasBase: true).refusal == "--base IMAGE goes with --mode top")
        #expect(
            MeasureRules(mode: .full, isAsked: true).refusal
                == "--cluster-size, --extended-l2 and --preallocate go with --target-format qcow2")
        #expect(MeasureRules(mode: .full, isAsked: true, isQCOW2: true).refusal == nil)
    }

    @Test func `one thing is removed`() {
        let text = "name a bitmap, or say --jobs or --all"
        #expect(RemovalRules().refusal == text)
        #expect(RemovalRules(hasName: true, jobs: true).refusal == text)
        #expect(RemovalRules(hasName: true, all: true).refusal == text)
        #expect(RemovalRules(jobs: true, all: true).refusal == text)
        #expect(RemovalRules(hasName: true, hasStore: true).refusal == nil)
        #expect(RemovalRules(jobs: true, hasStore: true).refusal == nil)
        #expect(RemovalRules(all: true).refusal == nil)
        #expect(
            RemovalRules(all: true, hasStore: true).refusal
                == "--all is for the bitmaps inside an image: leave --bitmaps out")
    }
}
