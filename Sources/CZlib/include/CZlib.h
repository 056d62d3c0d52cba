#pragma once

#include <stddef.h>
#include <stdint.h>

/* What inflates stretches of memory, one after the other. */
struct ringmirror_inflater;

/* For raw deflate streams with a window of 2^`window_bits` bytes, from 8 to 15. NULL: no memory. */
struct ringmirror_inflater *ringmirror_inflater_make(int window_bits);

void ringmirror_inflater_free(struct ringmirror_inflater *inflater);

/* Fills `target` with what the stream at the beginning of `source` holds, which may go on behind
 * that. Returns 0 if the stream is broken, or shorter than that. */
int ringmirror_inflate(
    struct ringmirror_inflater *inflater, const void *source, size_t source_count, void *target,
    size_t target_count);
