/* The helper processes that freeze and thaw; see freeze.c. They do nothing but system calls. */
#define _GNU_SOURCE

#include "CLinux.h"
#include "freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t ringmirror_monotonic(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void pause_briefly(void) {
    struct timespec time = {0, 2000000};
    nanosleep(&time, NULL);
}

int ringmirror_wait_for(struct pollfd files[2], int64_t deadline) {
    for (;;) {
        struct timespec limit, *given = NULL;
        if (deadline >= 0) {
            int64_t left = deadline - ringmirror_monotonic();
            left = left < 0 ? 0 : left;
            limit.tv_sec = left / 1000000000;
            limit.tv_nsec = left % 1000000000;
            given = &limit;
        }
        int count = ppoll(files, 2, given, NULL);
        if (count >= 0 || errno != EINTR)
            return count;
    }
}

int ringmirror_receive(int file, int64_t deadline) {
    struct pollfd files[2] = {{file, POLLIN, 0}, {-1, 0, 0}};
    char byte;
    if (ringmirror_wait_for(files, deadline) <= 0)
        return -1;
    return read(file, &byte, 1) == 1 ? byte : 0;
}

int ringmirror_tell(int file, char byte) {
    return send(file, &byte, 1, MSG_NOSIGNAL) == 1 ? 0 : errno;
}

static void thaw(struct entry *entry) {
    int failure = ioctl(entry->mount, FITHAW, 0) < 0 ? errno : 0;
    /* EINVAL: it was not frozen. Somebody else has thawed it. */
    if (failure == 0 || failure == EINVAL) {
        entry->state = thawed;
    } else {
        entry->failure = failure;
        entry->state = stuck;
    }
}

int ringmirror_thaw_frozen(struct shared *shared, int is_freezer_gone) {
    int left = 0;
    for (size_t index = shared->count; index-- > 0;) {
        struct entry *entry = &shared->entries[index];
        int state = entry->state;
        int is_in_work = state == freezing || state == checking;
        if (state == frozen || (is_in_work && is_freezer_gone))
            thaw(entry);
        else if (is_in_work)
            left = 1;
    }
    return left;
}

void ringmirror_begin_to_stop(struct shared *shared, int cause) {
    int none = 0;
    atomic_compare_exchange_strong(&shared->cause, &none, cause);
    shared->stop = 1;
}

void ringmirror_end_thaw(struct shared *shared) {
    int64_t none = 0;
    atomic_compare_exchange_strong(&shared->ended, &none, ringmirror_monotonic());
    shared->is_done = 1;
}

/* --- The freezer --- */

/* Whether the process with the other end has ended. */
static int is_gone(int file) {
    struct pollfd files[2] = {{file, POLLIN, 0}, {-1, 0, 0}};
    return ringmirror_wait_for(files, 0) != 0;
}

static int freeze_in_order(struct shared *shared, int watchdog) {
    for (size_t index = 0; index < shared->count; index++) {
        struct entry *entry = &shared->entries[index];
        /* Either the stop is seen here, or who stops sees that this one is being frozen. */
        entry->state = freezing;
        if (shared->stop || is_gone(watchdog)) {
            entry->state = untouched;
            return ECANCELED;
        }
        if (ioctl(entry->mount, FIFREEZE, 0) < 0) {
            int failure = errno;
            entry->failure = failure;
            entry->state = refused;
            return failure;
        }
        entry->state = frozen;
        if (shared->stop) {
            thaw(entry);
            return ECANCELED;
        }
    }
    return 0;
}

/* Who freezes what is frozen is told that it is busy. */
static void check_each(struct shared *shared) {
    for (size_t index = 0; index < shared->count; index++) {
        struct entry *entry = &shared->entries[index];
        int expected = frozen;
        if (!atomic_compare_exchange_strong(&entry->state, &expected, checking))
            return;
        if (ioctl(entry->mount, FIFREEZE, 0) < 0 && errno == EBUSY) {
            entry->state = frozen;
            if (shared->stop)
                thaw(entry);
        } else {
            thaw(entry);
            ringmirror_begin_to_stop(shared, ringmirror_thaw_foreign);
        }
    }
}

static _Noreturn void run_freezer(struct shared *shared, int asked, int watchdog) {
    ringmirror_tell(asked, is_ready);
    for (;;) {
        struct pollfd files[2] = {{asked, POLLIN, 0}, {watchdog, POLLIN, 0}};
        if (ringmirror_wait_for(files, -1) < 0)
            _exit(1);
        if (files[1].revents) {
            if (!shared->is_done) {
                ringmirror_begin_to_stop(shared, ringmirror_thaw_helper);
                ringmirror_thaw_frozen(shared, 1);
                ringmirror_end_thaw(shared);
            }
            _exit(0);
        }
        switch (ringmirror_receive(asked, -1)) {
        case freeze_all:
            freeze_in_order(shared, watchdog);
            ringmirror_tell(asked, is_ready);
            break;
        case check_all:
            check_each(shared);
            ringmirror_tell(asked, is_ready);
            break;
        default: /* The process that asked is gone, and the watchdog knows it. */
            asked = -1;
        }
    }
}

/* --- The watchdog --- */

static _Noreturn void run_watchdog(struct shared *shared, int asked, pid_t freezer) {
    int64_t deadline = -1;
    int cause = 0, is_freezer_gone = 0;
    ringmirror_tell(asked, is_ready);
    while (cause == 0) {
        switch (ringmirror_receive(asked, deadline)) {
        case limit_begins: deadline = shared->begun + shared->limit; break;
        case let_go: cause = ringmirror_thaw_asked; break;
        case -1: cause = ringmirror_thaw_limit; break;
        default: cause = ringmirror_thaw_parent;
        }
    }
    ringmirror_begin_to_stop(shared, cause);
    while (ringmirror_thaw_frozen(shared, is_freezer_gone)) {
        is_freezer_gone = waitpid(freezer, NULL, WNOHANG) != 0;
        if (!is_freezer_gone)
            pause_briefly();
    }
    ringmirror_end_thaw(shared);
    _exit(0);
}

/* --- What both are at their start --- */

static void close_all_but(int *kept, size_t count) {
    unsigned from = 0;
    for (size_t index = 1; index < count; index++)
        for (size_t place = index; place > 0 && kept[place - 1] > kept[place]; place--) {
            int other = kept[place];
            kept[place] = kept[place - 1];
            kept[place - 1] = other;
        }
    for (size_t index = 0; index <= count; index++) {
        unsigned end = index < count ? (unsigned)kept[index] : ~0U;
        if (end > from && syscall(SYS_close_range, from, end - 1, 0) < 0) {
            /* Older than Linux 5.9. */
            struct rlimit limit;
            unsigned most = getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 65536 : limit.rlim_cur;
            for (unsigned file = from; file < end && file < most; file++)
                close((int)file);
        }
        from = end + 1;
    }
}

/* A helper is no part of any terminal or group of processes, and nothing of it is fetched from a
 * disk when it is needed. What is refused here is done without. */
static void settle(struct shared *shared, int *kept, size_t count) {
    static const char name[] = "ringmirror-thaw", never_killed[] = "-1000";
    struct pollfd none[2] = {{-1, 0, 0}, {-1, 0, 0}};
    prctl(PR_SET_NAME, name);
    setsid();
    if (chdir("/") < 0) {
        /* It stays where it is. */
    }
    close_all_but(kept, count);
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        if (write(file, never_killed, sizeof never_killed - 1) < 0) {
            /* It can be killed. */
        }
        close(file);
    }
    /* Only what is touched: all else is the memory of the other process. */
    mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    /* These are touched now. */
    ringmirror_wait_for(none, 0);
    ioctl(-1, FITHAW, 0);
    waitpid(-1, NULL, WNOHANG);
    ringmirror_thaw_frozen(shared, 0);
}

int ringmirror_copy_process(void) { return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

_Noreturn void ringmirror_run_helpers(
    struct shared *shared, int to_watchdog, int to_freezer, int *kept) {
    int watch[2];
    size_t count = 0;
    for (; count < shared->count; count++)
        kept[count] = shared->entries[count].mount;
    pid_t freezer = -1;
    if (pipe2(watch, O_CLOEXEC) == 0)
        freezer = ringmirror_copy_process();
    if (freezer < 0) {
        shared->failure = errno;
        _exit(1);
    }
    kept[count++] = freezer == 0 ? to_freezer : to_watchdog;
    kept[count++] = watch[freezer != 0];
    settle(shared, kept, count);
    if (freezer == 0)
        run_freezer(shared, to_freezer, watch[0]);
    run_watchdog(shared, to_watchdog, freezer);
}
