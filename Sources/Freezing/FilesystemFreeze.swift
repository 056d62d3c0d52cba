/// Filesystems that are held still for a moment.
public enum FilesystemFreeze {}
