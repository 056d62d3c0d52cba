#pragma once

/*
 * What Glibc's Swift import lacks: ioctls, whose numbers are macros, and statx, whose newer fields
 * are missing from older headers. Every function returns 0 or an errno value.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/loop.h>

static inline int ringmirror_blk_size(int fd, uint64_t *bytes) {
    return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? errno : 0;
}

static inline int ringmirror_blk_logical(int fd, int *bytes) {
    return ioctl(fd, BLKSSZGET, bytes) < 0 ? errno : 0;
}

static inline int ringmirror_blk_physical(int fd, unsigned *bytes) {
    return ioctl(fd, BLKPBSZGET, bytes) < 0 ? errno : 0;
}

static inline int ringmirror_blk_read_only(int fd, int *is_read_only) {
    return ioctl(fd, BLKROGET, is_read_only) < 0 ? errno : 0;
}

static inline int ringmirror_blk_sequence(int fd, uint64_t *sequence) {
#ifdef BLKGETDISKSEQ
    return ioctl(fd, BLKGETDISKSEQ, sequence) < 0 ? errno : 0;
#else
    (void)fd;
    (void)sequence;
    return ENOTTY;
#endif
}

struct ringmirror_loop {
    uint64_t device; /* st_dev of the file below */
    uint64_t inode;
    uint64_t special; /* st_rdev of the file below: not 0 for a block device */
};

static inline int ringmirror_loop_status(int fd, struct ringmirror_loop *result) {
    struct loop_info64 info;
    if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
        return errno;
    result->device = info.lo_device;
    result->inode = info.lo_inode;
    result->special = info.lo_rdevice;
    return 0;
}

/* Named again, because Swift finds the macros in two modules and calls them ambiguous. */
static const uint32_t ringmirror_mode_mask = S_IFMT;
static const uint32_t ringmirror_mode_file = S_IFREG;
static const uint32_t ringmirror_mode_block = S_IFBLK;
static const uint32_t ringmirror_mode_directory = S_IFDIR;
static const uint32_t ringmirror_mode_character = S_IFCHR;
static const uint32_t ringmirror_mode_pipe = S_IFIFO;
static const uint32_t ringmirror_mode_socket = S_IFSOCK;

struct ringmirror_status {
    uint32_t mode;
    uint32_t block_size;
    uint32_t device_major, device_minor;
    uint32_t special_major, special_minor;
    uint64_t inode;
    int64_t size;
    /* Both are 0 where the file refuses direct I/O; they mean nothing if `direct_known` is 0. */
    uint32_t direct_known;
    uint32_t direct_memory, direct_offset;
};

static inline int ringmirror_status(
    int directory, const char *path, int flags, struct ringmirror_status *result) {
    struct statx found;
    unsigned mask = STATX_BASIC_STATS;
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
    result->inode = found.stx_ino;
    result->size = (int64_t)found.stx_size;
#ifdef STATX_DIOALIGN
    if (found.stx_mask & STATX_DIOALIGN) {
        result->direct_known = 1;
        result->direct_memory = found.stx_dio_mem_align;
        result->direct_offset = found.stx_dio_offset_align;
    }
#endif
    return 0;
}

static inline int ringmirror_filesystem_magic(int fd, int64_t *magic) {
    struct statfs found;
    if (fstatfs(fd, &found) < 0)
        return errno;
    /* The field is signed, and sign-extends magics such as btrfs's on 64-bit machines. */
    *magic = (int64_t)(uint32_t)found.f_type;
    return 0;
}

/* One read of `length` bytes at offset 0 into memory aligned to it: does O_DIRECT take it? */
static inline int ringmirror_trial_read(int fd, size_t length) {
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

/* Who keeps `fd` from being locked for writing as a whole (QEMU locks images this way)?
 * 0 in `found`: nobody. The holder of an open-file-description lock has no pid: -1. */
static inline int ringmirror_foreign_record_lock(int fd, int *found, int *pid) {
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

static inline int ringmirror_openat(int directory, const char *path, int flags, unsigned mode) {
    return openat(directory, path, flags, mode);
}

static inline int ringmirror_get_flags(int fd) {
    return fcntl(fd, F_GETFL);
}

static inline int ringmirror_set_flags(int fd, int flags) {
    return fcntl(fd, F_SETFL, flags) < 0 ? errno : 0;
}

/* readlink into bytes: Swift's import wants characters, and a path is neither. */
static inline ssize_t ringmirror_read_link(const char *path, uint8_t *target, size_t size) {
    return readlink(path, (char *)target, size);
}
