/* What a process that freezes filesystems shares with its helpers; see freeze.c. */
#pragma once

#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum state {
    untouched,
    freezing, /* FIFREEZE is being called */
    frozen,
    checking, /* FIFREEZE is being called to see whether it still is */
    refused,  /* FIFREEZE failed */
    thawed,
    stuck, /* FITHAW failed */
};

struct entry {
    int mount;
    _Atomic int state, failure;
};

struct shared {
    size_t bytes;
    /* Not 0: nothing is frozen any more, and what is being frozen is thawed at once. */
    _Atomic int stop;
    _Atomic int cause; /* of enum ringmirror_thaw_cause: the first one */
    _Atomic int is_done, failure;
    _Atomic int64_t begun, ended;
    int64_t limit;
    size_t count;
    struct entry entries[];
};

/* The bytes that go between the processes. */
enum { is_ready = 'k', limit_begins = 's', let_go = 'r', freeze_all = 'f', check_all = 'c' };

int64_t ringmirror_monotonic(void);

/* Waits until poll finds something at one of two files (-1: no file), or until `deadline` (below 0:
 * none). 0: the time has passed. */
int ringmirror_wait_for(struct pollfd files[2], int64_t deadline);

/* The next byte; 0 if the other end is gone, -1 if nothing has come until `deadline`. */
int ringmirror_receive(int file, int64_t deadline);
int ringmirror_tell(int file, char byte);

/* Thaws what is frozen, in the reverse order. Not 0: the freezer is still at work on one. */
int ringmirror_thaw_frozen(struct shared *shared, int is_freezer_gone);
void ringmirror_begin_to_stop(struct shared *shared, int cause);
void ringmirror_end_thaw(struct shared *shared);

/* Without what a C library does at a fork, for which it takes locks. */
int ringmirror_copy_process(void);

/* What the first helper does; it makes the other one. `kept` has room for all mounts and two more.
 */
_Noreturn void ringmirror_run_helpers(
    struct shared *shared, int to_watchdog, int to_freezer, int *kept);
