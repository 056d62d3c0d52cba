#include "CZlib.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* zlib's state points back at the stream, which therefore has a place of its own. */
struct ringmirror_inflater {
    z_stream stream;
};

struct ringmirror_inflater *ringmirror_inflater_make(int window_bits) {
    struct ringmirror_inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater && inflateInit2(&inflater->stream, -window_bits) != Z_OK) {
        free(inflater);
        return NULL;
    }
    return inflater;
}

void ringmirror_inflater_free(struct ringmirror_inflater *inflater) {
    if (!inflater)
        return;
    inflateEnd(&inflater->stream);
    free(inflater);
}

int ringmirror_inflate(
    struct ringmirror_inflater *inflater, const void *source, size_t source_count, void *target,
    size_t target_count) {
    z_stream *stream = &inflater->stream;
    int result;
    if (source_count > UINT_MAX || target_count > UINT_MAX || inflateReset(stream) != Z_OK)
        return 0;
    stream->next_in = (Bytef *)source;
    stream->avail_in = (uInt)source_count;
    stream->next_out = target;
    stream->avail_out = (uInt)target_count;
    result = inflate(stream, Z_FINISH);
    /* Z_BUF_ERROR: the stream would go on behind the target. */
    return (result == Z_STREAM_END || result == Z_BUF_ERROR) && stream->avail_out == 0;
}
