#pragma once

/*
 * What Glibc's Swift import lacks: ioctls, whose numbers are macros, and statx, whose newer fields
 * are missing from older headers. Every function returns 0 or an errno value, if nothing else is
 * said.
 *
 * No header of the system is read here: this one is also read where our modules are imported, with
 * other settings, and next to modules of the toolchain that own those headers.
 */

#include <stddef.h>
#include <stdint.h>

/* The kinds of file, named again, because Swift finds the macros in two modules and calls them
 * ambiguous. */
static const uint32_t ringmirror_mode_mask = 0170000;
static const uint32_t ringmirror_mode_file = 0100000;
static const uint32_t ringmirror_mode_block = 0060000;
static const uint32_t ringmirror_mode_directory = 0040000;
static const uint32_t ringmirror_mode_character = 0020000;
static const uint32_t ringmirror_mode_pipe = 0010000;
static const uint32_t ringmirror_mode_socket = 0140000;

struct ringmirror_loop {
    uint64_t device; /* st_dev of the file below */
    uint64_t inode;
    uint64_t special; /* st_rdev of the file below: not 0 for a block device */
};

struct ringmirror_status {
    uint32_t mode;
    uint32_t block_size;
    uint32_t device_major, device_minor;
    uint32_t special_major, special_minor;
    uint32_t links;
    uint64_t inode;
    int64_t size;
    int64_t modified, changed; /* mtime and ctime, nanoseconds since 1970 */
    int64_t born;              /* the same of the inode's making; nothing if not `born_known` */
    uint32_t born_known;
    /* Both are 0 where the file refuses direct I/O; they mean nothing if `direct_known` is 0. */
    uint32_t direct_known;
    uint32_t direct_memory, direct_offset;
};

int ringmirror_blk_size(int fd, uint64_t *bytes);
int ringmirror_blk_logical(int fd, int *bytes);
int ringmirror_blk_physical(int fd, unsigned *bytes);
int ringmirror_blk_read_only(int fd, int *is_read_only);
int ringmirror_blk_sequence(int fd, uint64_t *sequence);
int ringmirror_loop_status(int fd, struct ringmirror_loop *result);
int ringmirror_status(int directory, const char *path, int flags, struct ringmirror_status *result);
/* The generation of the inode, which another file that gets its number does not share. */
int ringmirror_generation(int fd, uint32_t *generation);
/* Brings what the page cache has of a file or disk to it: no cache of a device is flushed. */
int ringmirror_write_back(int fd);
int ringmirror_filesystem_magic(int fd, int64_t *magic);
/* A number for the live table of a device-mapper disk, never 0; another one after another table was
 * loaded. */
int ringmirror_dm_table_hash(uint32_t major, uint32_t minor, uint64_t *hash);
/* One read of `length` bytes at offset 0 into memory aligned to it: does O_DIRECT take it? */
int ringmirror_trial_read(int fd, size_t length);

/* Who keeps `fd` from being locked for writing as a whole? 0 in `found`: nobody. The holder of an
 * open-file-description lock has no pid: -1. */
int ringmirror_foreign_record_lock(int fd, int *found, int *pid);

/* openat, which Swift does not import because it is variadic: a descriptor, or -1 and errno. */
int ringmirror_openat(int directory, const char *path, int flags, unsigned mode);

/* The flags, or -1 and errno. */
int ringmirror_get_flags(int fd);

int ringmirror_set_flags(int fd, int flags);
/* readlink into bytes: Swift's import wants characters, and a path is neither. A count, or -1 and
 * errno. */
intptr_t ringmirror_read_link(const char *path, uint8_t *target, size_t size);

/* Takes (`take` not 0) or gives back a write lock of the open file description on one byte. EAGAIN
 * if somebody else has it. */
int ringmirror_record_lock(int fd, int64_t offset, int take);

/* Takes a lock of the open file description on one byte that others may share, for which `fd` must
 * be readable. EAGAIN if somebody has a write lock there. */
int ringmirror_record_lock_share(int fd, int64_t offset);

/* Whether another open file description holds a lock on that byte. */
int ringmirror_record_lock_query(int fd, int64_t offset, int *found);

/* Whether nobody else has the file open for writing, or mapped so: takes a lease that only then is
 * given, and gives it back. EAGAIN: somebody has. Anything else: it can't be told here. `fd` must
 * be open for reading alone. */
int ringmirror_probe_writers(int fd);

/* Has the kernel note who writes, opens and closes the file or disk that `fd` has open: a
 * descriptor of what it has noted, or -1 and errno. */
int ringmirror_watch_writes(int fd);

/* The same again takes no note from now on. */
int ringmirror_unwatch_writes(int notices, int fd);

/* What a process did, one bit each. */
static const uint32_t ringmirror_notice_wrote = 1;
static const uint32_t ringmirror_notice_opened = 2;
static const uint32_t ringmirror_notice_closed_writer = 4; /* had it open for writing */
static const uint32_t ringmirror_notice_closed_reader = 8;
static const uint32_t ringmirror_notice_untold = 16; /* alone: more than the kernel keeps */

/* What a process did since the note before, in an order that is not told. The pid is 0 where the
 * kernel does not tell it. */
struct ringmirror_notice {
    uint32_t deeds;
    int32_t pid;
};

enum { ringmirror_notices_at_once = 16 };

/* Takes the next notes of other processes: how many, 0 if there are none, or -1 and errno.
 * `found` has room for ringmirror_notices_at_once. Never waits. */
int ringmirror_foreign_notices(int notices, struct ringmirror_notice *found);

/* Whether two tasks have one table of descriptors; -1 where that can't be told. */
int ringmirror_shares_descriptors(int one, int other);

/* rename that fails with EEXIST if there is something at `to`. */
int ringmirror_rename_new(int directory, const char *from, const char *to);

/* fallocate's modes and sync_file_range's flags, which Swift finds only with _GNU_SOURCE. */
static const int32_t ringmirror_punch_hole = 3;
static const int32_t ringmirror_zero_range = 17;
static const uint32_t ringmirror_write_back_all = 7;

int ringmirror_fallocate(int fd, int mode, int64_t offset, int64_t length);

/* Like ringmirror_write_back, of a range; a length of 0 is up to the end. */
int ringmirror_write_back_range(int fd, int64_t offset, int64_t length);

/* A descriptor, or -1 and errno. A counted one gives one for each read; others give all at once,
 * and never wait. */
int ringmirror_eventfd(int is_counted);

/* struct pollfd. */
struct ringmirror_poll {
    int fd;
    int16_t events, found;
};

/* poll with a time in nanoseconds; below 0 without a limit. A count of files, or -1 and errno. */
int ringmirror_poll(struct ringmirror_poll *files, size_t count, int64_t nanoseconds);

/* A count in memory that threads wait for. Raising it wakes all; a signal handler may do that. */
uint32_t ringmirror_count(const uint32_t *count);
void ringmirror_raise_count(uint32_t *count);
/* Returns when the count is another one than `known`, or for no reason, or when so many nanoseconds
 * have passed. */
void ringmirror_await_count(const uint32_t *count, uint32_t known, int64_t nanoseconds);

/* RLIMIT_MEMLOCK; getrlimit takes an enumeration whose members Swift can't name. */
int ringmirror_get_memory_lock(uint64_t *soft, uint64_t *hard);
int ringmirror_set_memory_lock(uint64_t soft, uint64_t hard);

/* Brings to stable storage what the filesystem of an open file holds back. 0, or the errno. */
int ringmirror_sync_filesystem(int fd);

/* Freezing of filesystems; see freeze.c. */
struct ringmirror_freeze;

enum ringmirror_freeze_state {
    ringmirror_freeze_free, /* not frozen, or not any more */
    ringmirror_freeze_at_work,
    ringmirror_freeze_frozen,
    ringmirror_freeze_refused, /* it could not be frozen */
    ringmirror_freeze_stuck,   /* it could not be thawed */
};

enum ringmirror_thaw_cause {
    ringmirror_thaw_none, /* it is not thawed */
    ringmirror_thaw_asked,
    ringmirror_thaw_limit,
    ringmirror_thaw_parent, /* the process that asked for the freeze is gone */
    ringmirror_thaw_helper, /* a helper was killed */
    ringmirror_thaw_foreign,
};

/* Starts the helpers that freeze and thaw what is mounted at `mounts`, open files on each. */
int ringmirror_freeze_start(
    const int *mounts, size_t count, int64_t limit, struct ringmirror_freeze **result);
/* Freezes all in their order. ETIMEDOUT: not within the limit, which begins now; ECHILD: a helper
 * is gone; ECANCELED: one is refused. What is frozen stays so until it is thawed. */
int ringmirror_freeze_hold(struct ringmirror_freeze *freeze);
/* Whether nothing has been thawed that we know of. */
int ringmirror_freeze_is_held(struct ringmirror_freeze *freeze);
/* The same, and the kernel is asked whether somebody else thawed one. */
int ringmirror_freeze_check(struct ringmirror_freeze *freeze);
/* Thaws all in the reverse order. ETIMEDOUT: that goes on. */
int ringmirror_freeze_thaw(struct ringmirror_freeze *freeze, int64_t patience);
/* `failure`: why it is refused or stuck. */
enum ringmirror_freeze_state ringmirror_freeze_state(
    struct ringmirror_freeze *freeze, size_t index, int *failure);
/* Why all is thawed, or is about to be. */
enum ringmirror_thaw_cause ringmirror_freeze_cause(struct ringmirror_freeze *freeze);
/* From the start of the first freeze to the end of the last thaw, or to now. */
int64_t ringmirror_freeze_nanoseconds(struct ringmirror_freeze *freeze);
/* The process of the watchdog. */
int ringmirror_freeze_watchdog(struct ringmirror_freeze *freeze);
void ringmirror_freeze_close(struct ringmirror_freeze *freeze);

/* The number of the mount that has `path`; see ringmirror_status for the rest. */
int ringmirror_mount_id(int directory, const char *path, int flags, uint64_t *id);
