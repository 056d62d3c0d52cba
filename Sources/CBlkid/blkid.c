#include "CBlkid.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stddef.h>

static blkid_probe inner(struct ringmirror_probe *probe) {
    return (blkid_probe)probe;
}

/* libblkid does not promise an errno; a failed probe without one was a failed read. */
static int failure(void) {
    return errno == 0 ? EIO : errno;
}

int ringmirror_probe_open(int fd, struct ringmirror_probe **result) {
    blkid_probe probe = blkid_new_probe();
    if (!probe)
        return ENOMEM;
    errno = 0;
    if (blkid_probe_set_device(probe, fd, 0, 0) != 0) {
        int code = failure();
        blkid_free_probe(probe);
        return code;
    }
    blkid_probe_enable_superblocks(probe, 1);
    /* A bad checksum does not make a filesystem worthless to its owner. */
    blkid_probe_set_superblocks_flags(
        probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_MAGIC |
                   BLKID_SUBLKS_BADCSUM);
    blkid_probe_enable_partitions(probe, 1);
    blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC);
    *result = (struct ringmirror_probe *)probe;
    return 0;
}

void ringmirror_probe_close(struct ringmirror_probe *probe) {
    blkid_free_probe(inner(probe));
}

int ringmirror_probe_next(struct ringmirror_probe *probe, int *found) {
    int result;
    errno = 0;
    result = blkid_do_probe(inner(probe));
    *found = result == 0;
    return result == 0 || result == 1 ? 0 : failure();
}

const char *ringmirror_probe_value(struct ringmirror_probe *probe, const char *name) {
    const char *value = NULL;
    return blkid_probe_lookup_value(inner(probe), name, &value, NULL) == 0 ? value : NULL;
}
