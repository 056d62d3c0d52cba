#pragma once

/* swift-system imports the kernel's copy of io_uring.h. liburing brings a copy of its own behind
   the same include guard; taking the kernel's first lets one program import both modules. */
#include <linux/io_uring.h>
#include <liburing.h>
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
