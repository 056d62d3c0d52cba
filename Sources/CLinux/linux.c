/* Compiled with declarations that Swift must not see: whoever imports our modules builds without
 * _GNU_SOURCE, and glibc's headers then lack half of what is used here. */
#define _GNU_SOURCE

#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/loop.h>

int ringmirror_blk_size(int fd, uint64_t *bytes) {
    return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? errno : 0;
}

int ringmirror_blk_logical(int fd, int *bytes) {
    return ioctl(fd, BLKSSZGET, bytes) < 0 ? errno : 0;
}

int ringmirror_blk_physical(int fd, unsigned *bytes) {
    return ioctl(fd, BLKPBSZGET, bytes) < 0 ? errno : 0;
}

int ringmirror_blk_read_only(int fd, int *is_read_only) {
    return ioctl(fd, BLKROGET, is_read_only) < 0 ? errno : 0;
}

int ringmirror_blk_sequence(int fd, uint64_t *sequence) {
#ifdef BLKGETDISKSEQ
    return ioctl(fd, BLKGETDISKSEQ, sequence) < 0 ? errno : 0;
#else
    (void)fd;
    (void)sequence;
    return ENOTTY;
#endif
}

int ringmirror_loop_status(int fd, struct ringmirror_loop *result) {
    struct loop_info64 info;
    if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
        return errno;
    result->device = info.lo_device;
    result->inode = info.lo_inode;
    result->special = info.lo_rdevice;
    return 0;
}

static int64_t nanoseconds(const struct statx_timestamp *time) {
    int64_t nanoseconds;
    // Some filesystems keep times that the unit has no numbers for.
    if (__builtin_mul_overflow(time->tv_sec, 1000000000, &nanoseconds) ||
        __builtin_add_overflow(nanoseconds, time->tv_nsec, &nanoseconds))
        return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return nanoseconds;
}

int ringmirror_status(
    int directory, const char *path, int flags, struct ringmirror_status *result) {
    struct statx found;
    unsigned mask = STATX_BASIC_STATS | STATX_BTIME;
#ifdef STATX_DIOALIGN
    mask |= STATX_DIOALIGN;
#endif
    memset(&found, 0, sizeof found);
    if (statx(directory, path, flags, mask, &found) < 0)
        return errno;
    memset(result, 0, sizeof *result);
    result->mode = found.stx_mode;
    result->block_size = found.stx_blksize;
    result->device_major = found.stx_dev_major;
    result->device_minor = found.stx_dev_minor;
    result->special_major = found.stx_rdev_major;
    result->special_minor = found.stx_rdev_minor;
    result->links = found.stx_nlink;
    result->inode = found.stx_ino;
    result->size = (int64_t)found.stx_size;
    result->modified = nanoseconds(&found.stx_mtime);
    result->changed = nanoseconds(&found.stx_ctime);
    if (found.stx_mask & STATX_BTIME) {
        result->born_known = 1;
        result->born = nanoseconds(&found.stx_btime);
    }
#ifdef STATX_DIOALIGN
    if (found.stx_mask & STATX_DIOALIGN) {
        result->direct_known = 1;
        result->direct_memory = found.stx_dio_mem_align;
        result->direct_offset = found.stx_dio_offset_align;
    }
#endif
    return 0;
}

int ringmirror_generation(int fd, uint32_t *generation) {
    /* The ioctl is declared for a long, and stores an int. */
    long found = 0;
    if (ioctl(fd, FS_IOC_GETVERSION, &found) < 0)
        return errno;
    *generation = (uint32_t)found;
    return 0;
}

int ringmirror_write_back(int fd) {
    unsigned flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    return sync_file_range(fd, 0, 0, flags) < 0 ? errno : 0;
}

int ringmirror_filesystem_magic(int fd, int64_t *magic) {
    struct statfs found;
    if (fstatfs(fd, &found) < 0)
        return errno;
    /* The field is signed, and sign-extends magics such as btrfs's on 64-bit machines. */
    *magic = (int64_t)(uint32_t)found.f_type;
    return 0;
}

/* One read of `length` bytes at offset 0 into memory aligned to it: does O_DIRECT take it? */
int ringmirror_trial_read(int fd, size_t length) {
    void *memory = NULL;
    ssize_t got;
    int failure;
    if (posix_memalign(&memory, length < 4096 ? 4096 : length, length) != 0)
        return ENOMEM;
    do {
        got = pread(fd, memory, length, 0);
    } while (got < 0 && errno == EINTR);
    failure = got < 0 ? errno : 0;
    free(memory);
    return failure;
}

/* Who keeps `fd` from being locked for writing as a whole? 0 in `found`: nobody. The holder of an
 * open-file-description lock has no pid: -1. */
int ringmirror_foreign_record_lock(int fd, int *found, int *pid) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return errno;
    *found = lock.l_type != F_UNLCK;
    *pid = lock.l_pid;
    return 0;
}

int ringmirror_openat(int directory, const char *path, int flags, unsigned mode) {
    return openat(directory, path, flags, mode);
}

int ringmirror_get_flags(int fd) {
    return fcntl(fd, F_GETFL);
}

int ringmirror_set_flags(int fd, int flags) {
    return fcntl(fd, F_SETFL, flags) < 0 ? errno : 0;
}

/* readlink into bytes: Swift's import wants characters, and a path is neither. */
intptr_t ringmirror_read_link(const char *path, uint8_t *target, size_t size) {
    return readlink(path, (char *)target, size);
}

static struct flock one_byte(int64_t offset, short type) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = offset;
    lock.l_len = 1;
    return lock;
}

int ringmirror_record_lock(int fd, int64_t offset, int take) {
    struct flock lock = one_byte(offset, take ? F_WRLCK : F_UNLCK);
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? errno : 0;
}

int ringmirror_record_lock_share(int fd, int64_t offset) {
    struct flock lock = one_byte(offset, F_RDLCK);
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? errno : 0;
}

int ringmirror_record_lock_query(int fd, int64_t offset, int *found) {
    struct flock lock = one_byte(offset, F_WRLCK);
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return errno;
    *found = lock.l_type != F_UNLCK;
    return 0;
}

int ringmirror_probe_writers(int fd) {
    int failure;
    /* Who opens the file for writing in between waits until the lease is gone, and the kernel sends
     * a signal. The usual one would end the process; this one is ignored unless it is asked for. */
    if (fcntl(fd, F_SETSIG, SIGURG) < 0)
        return errno;
    failure = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 ? errno : 0;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return failure;
}

int ringmirror_rename_new(int directory, const char *from, const char *to) {
    if (renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    /* Filesystems that lack the flag know links, which never replace anything either. */
    if (linkat(directory, from, directory, to, 0) < 0)
        return errno;
    unlinkat(directory, from, 0);
    return 0;
}

static const uint64_t watched_events = FAN_MODIFY | FAN_OPEN | FAN_CLOSE;

int ringmirror_watch_writes(int fd) {
    // A handle of the file in each note needs no privileges; a descriptor would.
    int notices =
        fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY);
    if (notices < 0)
        return -1;
    if (fanotify_mark(notices, FAN_MARK_ADD, watched_events, fd, NULL) < 0) {
        int failure = errno;
        close(notices);
        errno = failure;
        return -1;
    }
    return notices;
}

int ringmirror_unwatch_writes(int notices, int fd) {
    return fanotify_mark(notices, FAN_MARK_REMOVE, watched_events, fd, NULL) < 0 ? errno : 0;
}

static uint32_t told(const struct fanotify_event_metadata *event) {
    if (event->vers != FANOTIFY_METADATA_VERSION || (event->mask & FAN_Q_OVERFLOW))
        return ringmirror_notice_untold;
    uint32_t deeds = 0;
    if (event->mask & FAN_MODIFY)
        deeds |= ringmirror_notice_wrote;
    if (event->mask & FAN_OPEN)
        deeds |= ringmirror_notice_opened;
    if (event->mask & FAN_CLOSE_WRITE)
        deeds |= ringmirror_notice_closed_writer;
    if (event->mask & FAN_CLOSE_NOWRITE)
        deeds |= ringmirror_notice_closed_reader;
    return deeds;
}

int ringmirror_foreign_notices(int notices, struct ringmirror_notice *found) {
    // An event has no fewer bytes than its head, so that none is read that has no place.
    char bytes[ringmirror_notices_at_once * sizeof(struct fanotify_event_metadata)]
        __attribute__((aligned(__alignof__(struct fanotify_event_metadata))));
    pid_t own = getpid();
    for (;;) {
        ssize_t length = read(notices, bytes, sizeof bytes);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 && errno == EAGAIN)
            return 0;
        if (length <= 0) {
            errno = length == 0 ? EIO : errno;
            return -1;
        }
        int count = 0;
        struct fanotify_event_metadata *event = (void *)bytes;
        for (; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
            struct ringmirror_notice notice = {told(event), event->pid};
            if (notice.deeds == ringmirror_notice_untold || notice.pid != own)
                found[count++] = notice;
        }
        if (count > 0)
            return count;
    }
}

int ringmirror_shares_descriptors(int one, int other) {
    // Of kcmp.h, which not every C library has.
    const int files = 2;
    long order = syscall(SYS_kcmp, one, other, files, 0, 0);
    return order < 0 ? -1 : order == 0;
}

int ringmirror_mount_id(int directory, const char *path, int flags, uint64_t *id) {
    struct statx found;
    memset(&found, 0, sizeof found);
    if (statx(directory, path, flags | AT_STATX_DONT_SYNC, STATX_MNT_ID, &found) < 0)
        return errno;
    if (!(found.stx_mask & STATX_MNT_ID))
        return ENOSYS;
    *id = found.stx_mnt_id;
    return 0;
}

int ringmirror_sync_filesystem(int fd) { return syncfs(fd) < 0 ? errno : 0; }
