#pragma once

/*
 * One io_uring, by plain functions and values: no header of liburing, of the kernel or of the C
 * library is read where Swift imports this, since those that the toolchain's modules own must come
 * from there alone. What stands here in numbers of the kernel's is compared with its own headers
 * where liburing.c is compiled.
 *
 * Functions return 0 or a negated errno value, if nothing else is said.
 */

#include <stddef.h>
#include <stdint.h>

/* A ring, which stays where it was made. */
struct ringmirror_ring;

/* Ways to make a ring: IORING_SETUP_*. */
static const uint32_t ringmirror_setup_clamp = 1u << 4;
static const uint32_t ringmirror_setup_submit_all = 1u << 7;
static const uint32_t ringmirror_setup_cooperative = 1u << 8;
static const uint32_t ringmirror_setup_wide_entries = 1u << 10;
static const uint32_t ringmirror_setup_wide_completions = 1u << 11;
static const uint32_t ringmirror_setup_single_issuer = 1u << 12;
static const uint32_t ringmirror_setup_deferred = 1u << 13;

/* What a kernel can do: IORING_FEAT_*. */
static const uint32_t ringmirror_feature_nodrop = 1u << 1;
static const uint32_t ringmirror_feature_time_limit = 1u << 8;

/* Operations: IORING_OP_*. */
static const uint8_t ringmirror_op_nop = 0;
static const uint8_t ringmirror_op_sync = 3;
static const uint8_t ringmirror_op_read_fixed = 4;
static const uint8_t ringmirror_op_write_fixed = 5;
static const uint8_t ringmirror_op_poll = 6;
static const uint8_t ringmirror_op_write_back = 8;
static const uint8_t ringmirror_op_timeout = 11;
static const uint8_t ringmirror_op_cancel = 14;
static const uint8_t ringmirror_op_fallocate = 17;
static const uint8_t ringmirror_op_read = 22;
static const uint8_t ringmirror_op_write = 23;
static const uint8_t ringmirror_op_advise = 24;

/* In `flags`: the file is a position among the registered ones. */
static const uint8_t ringmirror_entry_fixed_file = 1;

/* In `options` of a sync: of the data, and of no more metadata than that needs. */
static const uint32_t ringmirror_sync_data = 1;

/* The first 64 bytes of a submission entry, as the kernel reads them; wide ones have 64 more. */
struct ringmirror_entry {
    uint8_t operation;
    uint8_t flags;
    uint16_t priority;
    int32_t file;
    uint64_t offset;
    uint64_t address;
    uint32_t length;
    uint32_t options; /* what each operation calls its flags, events or advice */
    uint64_t token;
    uint16_t buffer; /* which of the registered ones */
    uint16_t personality;
    int32_t other_file;
    uint64_t command[2]; /* where a command's own bytes begin */
};

/* The first 16 bytes of a completion entry; wide ones have 16 more. */
struct ringmirror_completion {
    uint64_t token;
    int32_t result;
    uint32_t flags;
};

/* What the kernel reads the time of a timeout from, when it takes the entry. */
struct ringmirror_time {
    int64_t seconds;
    int64_t nanoseconds;
};

/* Where the completions of a ring are, for as long as it lives. */
struct ringmirror_completion_queue {
    uint32_t *head, *tail;
    uint32_t mask;
    struct ringmirror_completion *entries;
};

/* Makes a ring for at least so many entries that aren't submitted yet, and twice as many
 * completions. `flags` are ringmirror_setup_*; -EINVAL if this kernel lacks one of them. */
int ringmirror_ring_make(uint32_t entries, uint32_t flags, struct ringmirror_ring **ring);

void ringmirror_ring_free(struct ringmirror_ring *ring);

/* ringmirror_feature_* of this kernel. */
uint32_t ringmirror_ring_features(const struct ringmirror_ring *ring);

/* One bit for each of the first 64 operations that the kernel knows; all of them if it doesn't
 * tell. */
uint64_t ringmirror_ring_operations(struct ringmirror_ring *ring);

struct ringmirror_completion_queue ringmirror_ring_completions(struct ringmirror_ring *ring);

/* Has the kernel look files up, and pin memory as buffer 0, once for all. */
int ringmirror_ring_register_files(struct ringmirror_ring *ring, const int *files, uint32_t count);
int ringmirror_ring_register_memory(struct ringmirror_ring *ring, void *start, size_t count);
int ringmirror_ring_unregister_files(struct ringmirror_ring *ring);

/* The next entry to be submitted, with whatever stood there before; NULL if none is free. All of
 * it, 64 bytes or 128, has to be written before anything is submitted. */
struct ringmirror_entry *ringmirror_ring_next_entry(struct ringmirror_ring *ring);

/* Entries that the kernel hasn't taken. */
uint32_t ringmirror_ring_unsubmitted(const struct ringmirror_ring *ring);

/* Submits, and waits for that many completions, for so many nanoseconds or below 0 without a limit;
 * in one system call. A wait for nothing lets the kernel post what is ready. Returns a count of
 * entries, or a negated errno value. */
int ringmirror_ring_enter(struct ringmirror_ring *ring, uint32_t wanted, int64_t nanoseconds);

/* The kernel writes one side of the queue's counters; plain loads would not order what they
 * guard. */
static inline uint32_t ringmirror_load_acquire(const uint32_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static inline void ringmirror_store_release(uint32_t *counter, uint32_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}
