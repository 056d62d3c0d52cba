#pragma once

/* swift-system imports the kernel's copy of io_uring.h. liburing brings a copy of its own behind
   the same include guard; taking the kernel's first lets one program import both modules. */
#include <linux/io_uring.h>
#include <liburing.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

/* Swift does not import the IOSQE_* macros, whose values are shifts of enumerators. */
static const unsigned ringmirror_sqe_fixed_file = IOSQE_FIXED_FILE;

/* The kernel writes one side of the queue's counters; plain loads would not order what they
   guard. */
static inline unsigned ringmirror_load_acquire(const unsigned *counter) {
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static inline void ringmirror_store_release(unsigned *counter, unsigned value) {
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}

/* Glibc's module has no eventfd. A counted one gives one for each read; others give all at once,
   and never wait. */
static inline int ringmirror_eventfd(int counted) {
    return eventfd(0, EFD_CLOEXEC | (counted ? EFD_SEMAPHORE : EFD_NONBLOCK));
}

/* getrlimit takes an enumeration whose members Swift can't name. */
static inline int ringmirror_get_memlock(struct rlimit *limit) {
    return getrlimit(RLIMIT_MEMLOCK, limit);
}

static inline int ringmirror_set_memlock(const struct rlimit *limit) {
    return setrlimit(RLIMIT_MEMLOCK, limit);
}

/* Glibc's module may be read without _GNU_SOURCE, and then has none of the following. All return
   -1 and set errno on failure. */
static inline int ringmirror_fallocate(int file, int mode, int64_t offset, int64_t length) {
    return fallocate(file, mode, offset, length);
}

static inline int ringmirror_write_back(int file, int64_t offset, int64_t length) {
    return sync_file_range(
        file, offset, length,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

/* poll with a time in nanoseconds; below 0 without a limit. */
static inline int ringmirror_poll(struct pollfd *files, unsigned long count, int64_t nanoseconds) {
    struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return ppoll(files, count, nanoseconds < 0 ? NULL : &limit, NULL);
}
