/*
 * Memory that is refused ends the program with an error. Swift's runtime would abort, or run into
 * an illegal instruction, in the middle of whatever asked for it; there is no hook for that.
 *
 * The functions are those of glibc under the names that it gives them for this purpose. Sanitizers
 * bring their own.
 */
#define _GNU_SOURCE

#include "CProcess.h"
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

/* The limit of a resource in KiB; 0 for none. */
static unsigned long long limit_of(int resource) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    return limit.rlim_cur >> 10;
}

void ringmirror_out_of_memory(size_t bytes) {
    unsigned long long space = limit_of(RLIMIT_AS), data = limit_of(RLIMIT_DATA);
    char what[256];
    const char *remedy = "Free memory, or do less at a time";
    if (space > 0 || data > 0) {
        snprintf(
            what, sizeof what,
            "out of memory: %zu bytes are refused, where the limit of the %s is %llu KiB "
            "(ulimit -%c)",
            bytes, space > 0 ? "address space" : "data of a process", space > 0 ? space : data,
            space > 0 ? 'v' : 'd');
        remedy = "Raise the limit";
    } else {
        snprintf(what, sizeof what, "out of memory: the system refuses %zu bytes", bytes);
    }
    ringmirror_end("outOfMemory", what, remedy);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void *granted(void *memory, size_t size) {
    if (memory == NULL && size > 0)
        ringmirror_out_of_memory(size);
    return memory;
}

void *malloc(size_t size) { return granted(__libc_malloc(size), size); }

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = (size_t)-1;
    return granted(__libc_calloc(count, size), bytes);
}

void *realloc(void *memory, size_t size) { return granted(__libc_realloc(memory, size), size); }

void *memalign(size_t alignment, size_t size) {
    return granted(__libc_memalign(alignment, size), size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    *memory = memalign(alignment, size);
    return 0;
}
#endif
