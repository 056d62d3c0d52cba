#include "CZstd.h"

#include <zstd.h>

static ZSTD_DCtx *inner(struct ringmirror_unpacker *unpacker) {
    return (ZSTD_DCtx *)unpacker;
}

struct ringmirror_unpacker *ringmirror_unpacker_make(void) {
    return (struct ringmirror_unpacker *)ZSTD_createDCtx();
}

void ringmirror_unpacker_free(struct ringmirror_unpacker *unpacker) {
    ZSTD_freeDCtx(inner(unpacker));
}

size_t ringmirror_frame_length(const void *source, size_t count) {
    size_t length = ZSTD_findFrameCompressedSize(source, count);
    return ZSTD_isError(length) ? 0 : length;
}

int ringmirror_unpack(
    struct ringmirror_unpacker *unpacker, const void *source, size_t source_count, void *target,
    size_t target_count, size_t *written) {
    size_t count =
        ZSTD_decompressDCtx(inner(unpacker), target, target_count, source, source_count);
    if (ZSTD_isError(count))
        return 0;
    *written = count;
    return 1;
}
