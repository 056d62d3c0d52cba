/* Freezes mounted filesystems, and thaws them whatever becomes of the process that asked for it.
 *
 * Two helper processes do it. The watchdog waits for the end of the freeze, for its limit, or for
 * the end of the process that asked, and thaws. The freezer calls FIFREEZE, which may wait for a
 * device for ever; after that it waits for the end of the watchdog, and thaws if that came too
 * early. What they know of each filesystem is in memory that all three share.
 *
 * The process has threads. So its helpers, which are copies of it, do nothing but system calls.
 */
#define _GNU_SOURCE

#include "CLinux.h"
#include "freeze.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct ringmirror_freeze {
    struct shared *shared;
    pid_t watchdog;
    int to_watchdog, to_freezer;
};

/* A few years: added to a time it is one still. */
static const int64_t longest_limit = (int64_t)100000000 * 1000000000;

static struct shared *make_shared(const int *mounts, size_t count, int64_t limit) {
    size_t bytes = sizeof(struct shared) + count * sizeof(struct entry);
    struct shared *shared =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return NULL;
    shared->bytes = bytes;
    shared->limit = limit < longest_limit ? limit : longest_limit;
    shared->count = count;
    for (size_t index = 0; index < count; index++)
        shared->entries[index].mount = mounts[index];
    return shared;
}

static int start(struct ringmirror_freeze *freeze, int *kept) {
    int watchdog[2], freezer[2];
    sigset_t all, earlier;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, watchdog) < 0)
        return errno;
    freeze->to_watchdog = watchdog[0];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, freezer) < 0) {
        int failure = errno;
        close(watchdog[1]);
        return failure;
    }
    freeze->to_freezer = freezer[0];
    /* No handler of this process runs in the others, now or later. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &earlier);
    pid_t pid = ringmirror_copy_process();
    if (pid == 0)
        ringmirror_run_helpers(freeze->shared, watchdog[1], freezer[1], kept);
    int failure = pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &earlier, NULL);
    close(watchdog[1]);
    close(freezer[1]);
    if (failure)
        return failure;
    freeze->watchdog = pid;
    int64_t deadline = ringmirror_monotonic() + 10000000000;
    if (ringmirror_receive(freeze->to_watchdog, deadline) != is_ready ||
        ringmirror_receive(freeze->to_freezer, deadline) != is_ready)
        return freeze->shared->failure ? freeze->shared->failure : ECHILD;
    return 0;
}

int ringmirror_freeze_start(
    const int *mounts, size_t count, int64_t limit, struct ringmirror_freeze **result) {
    struct ringmirror_freeze *freeze = calloc(1, sizeof *freeze);
    /* Of the helper, which may not allocate any memory. */
    int *kept = calloc(count + 2, sizeof *kept);
    int failure = ENOMEM;
    if (freeze != NULL && kept != NULL) {
        freeze->to_watchdog = freeze->to_freezer = -1;
        freeze->shared = make_shared(mounts, count, limit);
        failure = freeze->shared == NULL ? errno : start(freeze, kept);
    }
    free(kept);
    if (failure == 0) {
        *result = freeze;
        return 0;
    }
    if (freeze != NULL && freeze->shared != NULL)
        ringmirror_freeze_close(freeze);
    else
        free(freeze);
    return failure;
}

int ringmirror_freeze_hold(struct ringmirror_freeze *freeze) {
    struct shared *shared = freeze->shared;
    shared->begun = ringmirror_monotonic();
    if (ringmirror_tell(freeze->to_watchdog, limit_begins) ||
        ringmirror_tell(freeze->to_freezer, freeze_all))
        return ECHILD;
    struct pollfd files[2] = {
        {freeze->to_freezer, POLLIN, 0}, {freeze->to_watchdog, POLLIN, 0}};
    if (ringmirror_wait_for(files, shared->begun + shared->limit) <= 0)
        return ETIMEDOUT;
    if (files[1].revents)
        return shared->cause == ringmirror_thaw_limit ? ETIMEDOUT : ECHILD;
    if (ringmirror_receive(freeze->to_freezer, -1) != is_ready)
        return ECHILD;
    for (size_t index = 0; index < shared->count; index++)
        if (shared->entries[index].state != frozen)
            return shared->cause == ringmirror_thaw_limit ? ETIMEDOUT : ECANCELED;
    return 0;
}

int ringmirror_freeze_is_held(struct ringmirror_freeze *freeze) {
    struct pollfd files[2] = {
        {freeze->to_watchdog, POLLIN, 0}, {freeze->to_freezer, 0, 0}};
    for (size_t index = 0; index < freeze->shared->count; index++) {
        int state = freeze->shared->entries[index].state;
        if (state != frozen && state != checking)
            return 0;
    }
    return !freeze->shared->stop && ringmirror_wait_for(files, 0) == 0;
}

int ringmirror_freeze_check(struct ringmirror_freeze *freeze) {
    struct shared *shared = freeze->shared;
    if (!ringmirror_freeze_is_held(freeze) || ringmirror_tell(freeze->to_freezer, check_all) ||
        ringmirror_receive(freeze->to_freezer, shared->begun + shared->limit) != is_ready)
        return 0;
    return ringmirror_freeze_is_held(freeze);
}

int ringmirror_freeze_thaw(struct ringmirror_freeze *freeze, int64_t patience) {
    struct shared *shared = freeze->shared;
    int64_t deadline = ringmirror_monotonic() + patience;
    ringmirror_tell(freeze->to_watchdog, let_go);
    if (ringmirror_receive(freeze->to_watchdog, deadline) < 0)
        return ETIMEDOUT;
    if (!shared->is_done) {
        /* The watchdog was killed; the other helper thaws, and ends. It may be about to tell that
         * it has frozen or checked something. */
        int answer;
        ringmirror_begin_to_stop(shared, ringmirror_thaw_helper);
        do {
            answer = ringmirror_receive(freeze->to_freezer, deadline);
        } while (answer == is_ready);
        if (answer < 0)
            return ETIMEDOUT;
        ringmirror_thaw_frozen(shared, 1);
        ringmirror_end_thaw(shared);
    }
    return 0;
}

enum ringmirror_freeze_state ringmirror_freeze_state(
    struct ringmirror_freeze *freeze, size_t index, int *failure) {
    struct entry *entry = &freeze->shared->entries[index];
    *failure = entry->failure;
    switch (entry->state) {
    case freezing: return ringmirror_freeze_at_work;
    case frozen:
    case checking: return ringmirror_freeze_frozen;
    case refused: return ringmirror_freeze_refused;
    case stuck: return ringmirror_freeze_stuck;
    default: return ringmirror_freeze_free;
    }
}

enum ringmirror_thaw_cause ringmirror_freeze_cause(struct ringmirror_freeze *freeze) {
    return freeze->shared->cause;
}

int64_t ringmirror_freeze_nanoseconds(struct ringmirror_freeze *freeze) {
    int64_t end = freeze->shared->ended;
    return (end ? end : ringmirror_monotonic()) - freeze->shared->begun;
}

int ringmirror_freeze_watchdog(struct ringmirror_freeze *freeze) { return freeze->watchdog; }

void ringmirror_freeze_close(struct ringmirror_freeze *freeze) {
    /* Without these the helpers thaw, if they have not, and end. */
    if (freeze->to_watchdog >= 0)
        close(freeze->to_watchdog);
    if (freeze->to_freezer >= 0)
        close(freeze->to_freezer);
    if (freeze->watchdog > 0)
        waitpid(freeze->watchdog, NULL, freeze->shared->is_done ? 0 : WNOHANG);
    munmap(freeze->shared, freeze->shared->bytes);
    free(freeze);
}
