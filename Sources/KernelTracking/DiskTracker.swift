internal import CBPF

/// What the kernel knows of the writes to one disk.
public enum DiskTracker {
    /// Whether this build can track disks at all.
    public static var isBuiltIn: Bool { ringmirror_bpf_is_built_in() != 0 }
}
