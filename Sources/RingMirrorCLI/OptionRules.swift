import ArgumentParser
import RingMirror

// Which options don't go together, and what is said then. Plain values, so that a test asks them
// without a command line or a disk. The order counts: the first rule that is broken is told.

/// Of `full`, `top` and `incremental`.
struct MirrorRules {
    let mode: JobMode
    var image = NewImageRules()
    /// The name of `--bitmap`.
    var bitmap: String?
    var bitmapMode: BitmapMode?
    var hasMap = false
    /// An option was given that says how a map is read.
    var hasMapOptions = false
    /// `--resume`, and not `--resume=auto`.
    var resume = false
    var resumeAuto = false
    var targetIsZero = false
    var onlyDifferences = false

    /// What is wrong with the options; nil if nothing is.
    var refusal: String? {
        changes ?? uselessMapOptions ?? image.refusal ?? uselessBitmap ?? newTarget
            ?? resumedTarget ?? resumedMap ?? zeros ?? differences
    }

    /// An incremental mirror has one list of changes; one that is resumed has it in its record.
    private var changes: String? {
        guard mode == .incremental, (bitmap == nil) != hasMap, hasMap || !resume else { return nil }
        return "say what is dirty: --bitmap NAME or --map FILE, one of them"
    }

    private var uselessMapOptions: String? {
        guard hasMapOptions, !hasMap else { return nil }
        return "--map-block-size, --map-thin-device and --map-peer say how a map is read: they go "
            + "with --map FILE"
    }

    private var uselessBitmap: String? {
        guard mode == .full, bitmapMode == .never else { return nil }
        return "a full mirror does nothing with a bitmap whose mode is never: leave --bitmap out"
    }

    /// What is not copied has to come from somewhere.
    private var newTarget: String? {
        guard image.create, image.backing == nil else { return nil }
        switch mode {
        case .full: return nil
        case .top:
            return "a new TARGET has nothing of what is below OVERLAY: say on what it stands with "
                + "--backing, or use `full`"
        case .incremental:
            return "a new TARGET holds no mirror yet: say on which one it stands with --backing, "
                + "or use `full`"
        }
    }

    private var resumedTarget: String? {
        guard image.create, resume else { return nil }
        return "--resume goes on with a target that is there: leave --create out"
    }

    private var resumedMap: String? {
        guard hasMap else { return nil }
        if resume { return "--resume knows what is left: leave --map out" }
        guard resumeAuto else { return nil }
        return "--resume=auto can't tell whether the interrupted mirror was by this map: run "
            + "--resume without --map, or leave --resume=auto out"
    }

    /// A comparison asks what the target has.
    private var differences: String? {
        guard onlyDifferences else { return nil }
        if image.create {
            return "--only-differences compares with what TARGET has, and a new one has nothing: "
                + "leave one of --create and --only-differences out"
        }
        guard targetIsZero else { return nil }
        return "--only-differences finds out by itself where TARGET is zero: leave "
            + "--target-is-zero out"
    }

    private var zeros: String? {
        guard targetIsZero else { return nil }
        switch mode {
        case .full: return nil
        case .top:
            return "--target-is-zero can't be: the target of a top mirror holds what is below"
        case .incremental:
            return "--target-is-zero can't be: the target of an incremental mirror holds a mirror"
        }
    }
}

/// Of a target that may be a new qcow2 image.
struct NewImageRules {
    var create = false
    /// TARGET is a qcow2 image, by its name or because that was said.
    var isQCOW2 = false
    /// An option was given that says how a qcow2 image is made.
    var isAsked = false
    /// `--backing`.
    var backing: PathArgument?
    var hasBackingFormat = false
    /// `--no-backing`.
    var noBacking = false
    var preallocates = false

    /// What is wrong with the options; nil if nothing is.
    var refusal: String? {
        if isAsked && !(create && isQCOW2) {
            return "--cluster-size, --backing, --lazy-refcounts, --preallocate and --extended-l2 "
                + "are for a new qcow2 image: they go with --create and --target-format qcow2"
        }
        if (backing != nil) != hasBackingFormat {
            return "--backing FILE goes with --backing-format raw or qcow2: a raw disk can look "
                + "like anything"
        }
        guard let backing else { return nil }
        if noBacking {
            return "--backing FILE is opened, which --no-backing forbids: leave one of them out"
        }
        if backing.utf8 == nil {
            return "--backing \(backing): a qcow2 image can't name a file whose name is not UTF-8"
        }
        guard preallocates else { return nil }
        return "--preallocate can't be with --backing: what is allocated hides what is below"
    }
}

/// Of `measure`.
struct MeasureRules {
    let mode: JobMode
    var hasBitmap = false
    var hasTarget = false
    var hasBase = false
    /// An option was given that says how a qcow2 image would be made.
    var isAsked = false
    var isQCOW2 = false

    /// What is wrong with the options; nil if nothing is.
    var refusal: String? {
        if hasBitmap != (mode == .incremental) {
            return "--bitmap NAME goes with --mode incremental, which needs one"
        }
        if hasTarget && mode != .incremental {
            return "--target PATH goes with --mode incremental"
        }
        if hasBase && mode != .top { return "--base IMAGE goes with --mode top" }
        guard isAsked, !isQCOW2 else { return nil }
        return "--cluster-size, --extended-l2 and --preallocate go with --target-format qcow2"
    }
}

/// Of `bitmap remove`.
struct RemovalRules {
    var hasName = false
    /// `--jobs`.
    var jobs = false
    /// `--all`.
    var all = false
    /// `--bitmaps`.
    var hasStore = false

    /// What is wrong with the options; nil if nothing is.
    var refusal: String? {
        if [hasName, jobs, all].filter(\.self).count != 1 {
            return "name a bitmap, or say --jobs or --all"
        }
        guard all, hasStore else { return nil }
        return "--all is for the bitmaps inside an image: leave --bitmaps out"
    }
}

extension String? {
    /// Ends the parsing with what is wrong, if something is.
    func refuse() throws {
        if let text = self { throw ValidationError(text) }
    }
}
