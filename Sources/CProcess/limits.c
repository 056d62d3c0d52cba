/* The limits that a process is started with, looked at before anything needs what they refuse. */
#define _GNU_SOURCE

#include "CProcess.h"
#include "internal.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* What commands take of memory besides the buffers of a job. */
static const size_t room = 8 << 20;

/* What the main thread takes of its stack at most, and without what it may not begin. */
static const size_t stack_bytes = 512 << 10;
static const size_t stack_bytes_least = 256 << 10;

__attribute__((noinline)) static void use_stack(size_t bytes) {
    volatile char area[bytes];
    for (size_t end = bytes; end > 0; end -= end < 4096 ? end : 4096)
        area[end - 1] = 0;
}

/* A stack grows when it is used. Where it can't, the process ends without a word: by its own limit,
 * which is raised here, and by that of the address space, so that it is used here once. */
static void make_stack(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0)
        return;
    if (limit.rlim_cur < 2 * stack_bytes) {
        struct rlimit wanted = {2 * stack_bytes, limit.rlim_max};
        if (wanted.rlim_max < wanted.rlim_cur)
            wanted.rlim_max = wanted.rlim_cur; /* root may */
        if (setrlimit(RLIMIT_STACK, &wanted) == 0)
            limit = wanted;
    }
    if (limit.rlim_cur < stack_bytes_least)
        ringmirror_end(
            "systemCall", "the limit of the stack is below 256 KiB (ulimit -s)", "Raise it");
    /* Arguments and environment are on the stack as well. */
    size_t bytes = limit.rlim_cur / 2;
    use_stack(bytes < stack_bytes ? bytes : stack_bytes);
}

static void make_room(void) {
    struct rlimit limit;
    /* Each thread that allocates would reserve 64 MiB of address space for its own arena, and leave
     * none for buffers. */
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        mallopt(M_ARENA_MAX, 1);
    void *start =
        mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        ringmirror_out_of_memory(room);
    munmap(start, room);
}

/* Before the constructors of Swift's runtime. */
__attribute__((constructor(102))) static void check_limits(void) {
    make_room();
    make_stack();
}
