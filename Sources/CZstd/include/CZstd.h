#pragma once

#include <stddef.h>
#include <stdint.h>

/* What decompresses frames, one after the other. */
struct ringmirror_decompressor;

/* NULL: no memory. */
struct ringmirror_decompressor *ringmirror_decompressor_make(void);

void ringmirror_decompressor_free(struct ringmirror_decompressor *decompressor);

/* The length of the frame at the beginning of `source`; 0 if there is none, or less than all. */
size_t ringmirror_frame_length(const void *source, size_t count);

/* Decompresses one whole frame into `target`. Returns 0 if the frame is broken or `target` is too
 * small for it; else the bytes are counted in `written`. */
int ringmirror_decompress(
    struct ringmirror_decompressor *decompressor, const void *source, size_t source_count,
    void *target, size_t target_count, size_t *written);
