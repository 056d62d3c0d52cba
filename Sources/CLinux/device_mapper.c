#define _GNU_SOURCE

#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* FNV-1a, of 64 bits. */
static uint64_t add(uint64_t hash, const void *bytes, size_t count) {
    const uint8_t *byte = bytes;
    for (size_t index = 0; index < count; index++)
        hash = (hash ^ byte[index]) * 0x100000001b3ULL;
    return hash;
}

static uint64_t hash_of(const struct dm_ioctl *answer) {
    uint64_t hash = 0xcbf29ce484222325ULL;
    const char *first = (const char *)answer + answer->data_start;
    const char *end = (const char *)answer + answer->data_size;
    uint32_t offset = 0;
    for (uint32_t count = 0; count < answer->target_count; count++) {
        const struct dm_target_spec *target = (const void *)(first + offset);
        const char *words = (const char *)(target + 1);
        if (words >= end)
            break;
        hash = add(hash, &target->sector_start, sizeof target->sector_start);
        hash = add(hash, &target->length, sizeof target->length);
        hash = add(hash, target->target_type, strnlen(target->target_type, DM_MAX_TYPE_NAME));
        hash = add(hash, words, strnlen(words, (size_t)(end - words)) + 1);
        offset = target->next;
    }
    return hash ? hash : 1;
}

/* The table that is live now, into memory that the caller frees. */
static int read_table(int control, uint64_t device, size_t size, struct dm_ioctl **table) {
    struct dm_ioctl *request = calloc(1, size);
    if (!request)
        return ENOMEM;
    request->version[0] = DM_VERSION_MAJOR;
    request->data_size = (uint32_t)size;
    request->data_start = sizeof *request;
    request->dev = device;
    request->flags = DM_STATUS_TABLE_FLAG | DM_NOFLUSH_FLAG;
    if (ioctl(control, DM_TABLE_STATUS, request) < 0) {
        int failure = errno;
        free(request);
        return failure;
    }
    *table = request;
    return 0;
}

int ringmirror_dm_table_hash(uint32_t major, uint32_t minor, uint64_t *hash) {
    int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return errno;
    int failure = ENOSPC;
    for (size_t size = 16 << 10; size <= 64 << 20 && failure == ENOSPC; size *= 8) {
        struct dm_ioctl *table = NULL;
        failure = read_table(control, makedev(major, minor), size, &table);
        if (failure)
            break;
        if (table->flags & DM_BUFFER_FULL_FLAG)
            failure = ENOSPC;
        else
            *hash = hash_of(table);
        free(table);
    }
    close(control);
    return failure;
}
