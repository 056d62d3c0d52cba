/* What a queue without a ring does with system calls, and what a ring needs besides. */
#define _GNU_SOURCE

#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(
    ringmirror_punch_hole == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), "fallocate's modes");
_Static_assert(
    ringmirror_zero_range == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE), "fallocate's modes");
_Static_assert(
    ringmirror_write_back_all ==
        (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER),
    "sync_file_range's flags");
_Static_assert(sizeof(struct ringmirror_poll) == sizeof(struct pollfd), "ppoll's entries");
_Static_assert(
    offsetof(struct ringmirror_poll, fd) == offsetof(struct pollfd, fd) &&
        offsetof(struct ringmirror_poll, events) == offsetof(struct pollfd, events) &&
        offsetof(struct ringmirror_poll, found) == offsetof(struct pollfd, revents),
    "ppoll's entries");

int ringmirror_eventfd(int is_counted) {
    return eventfd(0, EFD_CLOEXEC | (is_counted ? EFD_SEMAPHORE : EFD_NONBLOCK));
}

int ringmirror_fallocate(int fd, int mode, int64_t offset, int64_t length) {
    return fallocate(fd, mode, offset, length) < 0 ? errno : 0;
}

int ringmirror_write_back_range(int fd, int64_t offset, int64_t length) {
    return sync_file_range(fd, offset, length, ringmirror_write_back_all) < 0 ? errno : 0;
}

int ringmirror_poll(struct ringmirror_poll *files, size_t count, int64_t nanoseconds) {
    struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return ppoll((struct pollfd *)files, count, nanoseconds < 0 ? NULL : &limit, NULL);
}

int ringmirror_get_memory_lock(uint64_t *soft, uint64_t *hard) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return errno;
    *soft = limit.rlim_cur;
    *hard = limit.rlim_max;
    return 0;
}

int ringmirror_set_memory_lock(uint64_t soft, uint64_t hard) {
    struct rlimit limit = {soft, hard};
    return setrlimit(RLIMIT_MEMLOCK, &limit) < 0 ? errno : 0;
}

uint32_t ringmirror_count(const uint32_t *count) {
    return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}

void ringmirror_raise_count(uint32_t *count) {
    int earlier = errno;
    __atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
    syscall(SYS_futex, count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = earlier;
}

void ringmirror_await_count(const uint32_t *count, uint32_t known, int64_t nanoseconds) {
    struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    syscall(SYS_futex, count, FUTEX_WAIT_PRIVATE, known, &limit, NULL, 0);
}
