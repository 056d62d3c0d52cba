#define _GNU_SOURCE

#include "CLiburing.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

struct ringmirror_ring {
    struct io_uring uring;
};

/* The header's numbers are the kernel's. */
#define SAME(ours, kernels) _Static_assert((ours) == (kernels), #kernels)
SAME(ringmirror_setup_clamp, IORING_SETUP_CLAMP);
SAME(ringmirror_setup_submit_all, IORING_SETUP_SUBMIT_ALL);
SAME(ringmirror_setup_cooperative, IORING_SETUP_COOP_TASKRUN);
SAME(ringmirror_setup_wide_entries, IORING_SETUP_SQE128);
SAME(ringmirror_setup_wide_completions, IORING_SETUP_CQE32);
SAME(ringmirror_setup_single_issuer, IORING_SETUP_SINGLE_ISSUER);
SAME(ringmirror_setup_deferred, IORING_SETUP_DEFER_TASKRUN);
SAME(ringmirror_feature_nodrop, IORING_FEAT_NODROP);
SAME(ringmirror_feature_time_limit, IORING_FEAT_EXT_ARG);
SAME(ringmirror_op_nop, IORING_OP_NOP);
SAME(ringmirror_op_sync, IORING_OP_FSYNC);
SAME(ringmirror_op_read_fixed, IORING_OP_READ_FIXED);
SAME(ringmirror_op_write_fixed, IORING_OP_WRITE_FIXED);
SAME(ringmirror_op_poll, IORING_OP_POLL_ADD);
SAME(ringmirror_op_write_back, IORING_OP_SYNC_FILE_RANGE);
SAME(ringmirror_op_timeout, IORING_OP_TIMEOUT);
SAME(ringmirror_op_cancel, IORING_OP_ASYNC_CANCEL);
SAME(ringmirror_op_fallocate, IORING_OP_FALLOCATE);
SAME(ringmirror_op_read, IORING_OP_READ);
SAME(ringmirror_op_write, IORING_OP_WRITE);
SAME(ringmirror_op_advise, IORING_OP_FADVISE);
SAME(ringmirror_entry_fixed_file, IOSQE_FIXED_FILE);
SAME(ringmirror_sync_data, IORING_FSYNC_DATASYNC);

/* And so are its layouts. */
#define SAME_PLACE(ours, our_field, kernels, field)                                     \
    SAME(offsetof(struct ours, our_field), offsetof(struct kernels, field));            \
    SAME(sizeof(((struct ours *)0)->our_field), sizeof(((struct kernels *)0)->field))
SAME(sizeof(struct ringmirror_entry), sizeof(struct io_uring_sqe));
SAME_PLACE(ringmirror_entry, operation, io_uring_sqe, opcode);
SAME_PLACE(ringmirror_entry, flags, io_uring_sqe, flags);
SAME_PLACE(ringmirror_entry, priority, io_uring_sqe, ioprio);
SAME_PLACE(ringmirror_entry, file, io_uring_sqe, fd);
SAME_PLACE(ringmirror_entry, offset, io_uring_sqe, off);
SAME_PLACE(ringmirror_entry, address, io_uring_sqe, addr);
SAME_PLACE(ringmirror_entry, length, io_uring_sqe, len);
SAME_PLACE(ringmirror_entry, options, io_uring_sqe, rw_flags);
SAME_PLACE(ringmirror_entry, token, io_uring_sqe, user_data);
SAME_PLACE(ringmirror_entry, buffer, io_uring_sqe, buf_index);
SAME_PLACE(ringmirror_entry, personality, io_uring_sqe, personality);
SAME_PLACE(ringmirror_entry, other_file, io_uring_sqe, splice_fd_in);
SAME(offsetof(struct ringmirror_entry, command), offsetof(struct io_uring_sqe, cmd));
SAME(sizeof(struct ringmirror_completion), sizeof(struct io_uring_cqe));
SAME_PLACE(ringmirror_completion, token, io_uring_cqe, user_data);
SAME_PLACE(ringmirror_completion, result, io_uring_cqe, res);
SAME_PLACE(ringmirror_completion, flags, io_uring_cqe, flags);
SAME(sizeof(struct ringmirror_time), sizeof(struct __kernel_timespec));
SAME_PLACE(ringmirror_time, seconds, __kernel_timespec, tv_sec);
SAME_PLACE(ringmirror_time, nanoseconds, __kernel_timespec, tv_nsec);

int ringmirror_ring_make(uint32_t entries, uint32_t flags, struct ringmirror_ring **result) {
    struct ringmirror_ring *ring = calloc(1, sizeof *ring);
    struct io_uring_params parameters = {.flags = flags};
    int code;
    if (!ring)
        return -ENOMEM;
    code = io_uring_queue_init_params(entries, &ring->uring, &parameters);
    if (code < 0) {
        free(ring);
        return code;
    }
    *result = ring;
    return 0;
}

void ringmirror_ring_free(struct ringmirror_ring *ring) {
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

uint32_t ringmirror_ring_features(const struct ringmirror_ring *ring) {
    return ring->uring.features;
}

uint64_t ringmirror_ring_operations(struct ringmirror_ring *ring) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    uint64_t known = 0;
    int operation;
    if (!probe)
        return UINT64_MAX;
    for (operation = 0; operation < 64; operation++) {
        if (io_uring_opcode_supported(probe, operation))
            known |= (uint64_t)1 << operation;
    }
    io_uring_free_probe(probe);
    return known;
}

struct ringmirror_completion_queue ringmirror_ring_completions(struct ringmirror_ring *ring) {
    struct io_uring_cq *queue = &ring->uring.cq;
    struct ringmirror_completion_queue result = {
        queue->khead, queue->ktail, queue->ring_mask,
        (struct ringmirror_completion *)queue->cqes};
    return result;
}

int ringmirror_ring_register_files(struct ringmirror_ring *ring, const int *files, uint32_t count) {
    return io_uring_register_files(&ring->uring, files, count);
}

int ringmirror_ring_register_memory(struct ringmirror_ring *ring, void *start, size_t count) {
    struct iovec memory = {start, count};
    return io_uring_register_buffers(&ring->uring, &memory, 1);
}

int ringmirror_ring_unregister_files(struct ringmirror_ring *ring) {
    return io_uring_unregister_files(&ring->uring);
}

struct ringmirror_entry *ringmirror_ring_next_entry(struct ringmirror_ring *ring) {
    return (struct ringmirror_entry *)io_uring_get_sqe(&ring->uring);
}

uint32_t ringmirror_ring_unsubmitted(const struct ringmirror_ring *ring) {
    return io_uring_sq_ready(&ring->uring);
}

int ringmirror_ring_enter(struct ringmirror_ring *ring, uint32_t wanted, int64_t nanoseconds) {
    struct __kernel_timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    struct io_uring_cqe *first = NULL;
    if (wanted == 0)
        return io_uring_submit_and_get_events(&ring->uring);
    if (nanoseconds < 0)
        return io_uring_submit_and_wait(&ring->uring, wanted);
    return io_uring_submit_and_wait_timeout(&ring->uring, &first, wanted, &limit, NULL);
}
