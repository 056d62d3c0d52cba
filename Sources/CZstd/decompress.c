#include "CZstd.h"

#include <zstd.h>

static ZSTD_DCtx *inner(struct ringmirror_decompressor *decompressor) {
    return (ZSTD_DCtx *)decompressor;
}

struct ringmirror_decompressor *ringmirror_decompressor_make(void) {
    return (struct ringmirror_decompressor *)ZSTD_createDCtx();
}

void ringmirror_decompressor_free(struct ringmirror_decompressor *decompressor) {
    ZSTD_freeDCtx(inner(decompressor));
}

size_t ringmirror_frame_length(const void *source, size_t count) {
    size_t length = ZSTD_findFrameCompressedSize(source, count);
    return ZSTD_isError(length) ? 0 : length;
}

int ringmirror_decompress(
    struct ringmirror_decompressor *decompressor, const void *source, size_t source_count,
    void *target, size_t target_count, size_t *written) {
    size_t count =
        ZSTD_decompressDCtx(inner(decompressor), target, target_count, source, source_count);
    if (ZSTD_isError(count))
        return 0;
    *written = count;
    return 1;
}
