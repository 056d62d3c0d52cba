#pragma once

/* What Glibc's Swift import lacks: block-device ioctls, whose numbers are macros. */

#include <errno.h>
#include <stdint.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

static inline int ringmirror_blk_size(int fd, uint64_t *bytes) {
    return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? errno : 0;
}
