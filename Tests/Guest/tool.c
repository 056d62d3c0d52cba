// What the guest needs and busybox does not have.
//   tool scribble FILE SIZE SEED MICROSECONDS [COUNT]  writes at random places until it is stopped
//   tool discard DISK OFFSET LENGTH                    discards a part of a disk
//   tool same DISK DISK                                compares what lies on two disks
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int fail(const char *what) {
    perror(what);
    return 2;
}

static int scribble(const char *path, long size, unsigned seed, unsigned pause, long count) {
    static unsigned char buffer[65536];
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0) return fail(path);
    srandom(seed);
    for (long round = 0; count == 0 || round < count; round++) {
        long length = 512 * (1 + random() % 128);
        long offset = random() % ((size - length) / 512) * 512;
        for (long i = 0; i < length; i += 4) *(int *)(buffer + i) = (int)random();
        if (pwrite(fd, buffer, (size_t)length, offset) != length) return fail("pwrite");
        if (round % 8 == 7 && fdatasync(fd)) return fail("fdatasync");
        if (pause) usleep(pause);
    }
    return fsync(fd) ? fail("fsync") : 0;
}

static int discard(const char *path, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    int fd = open(path, O_RDWR);
    if (fd < 0) return fail(path);
    return ioctl(fd, BLKDISCARD, range) ? fail("BLKDISCARD") : 0;
}

// The page cache may hold what is not on the disk: it is not asked.
static int same(const char *one, const char *other) {
    enum { step = 1 << 20 };
    int a = open(one, O_RDONLY | O_DIRECT), b = open(other, O_RDONLY | O_DIRECT);
    void *left, *right;
    if (a < 0 || b < 0) return fail("open");
    if (posix_memalign(&left, 4096, step) || posix_memalign(&right, 4096, step)) return 2;
    for (long offset = 0;; offset += step) {
        ssize_t got = pread(a, left, step, offset), too = pread(b, right, step, offset);
        if (got < 0 || too < 0) return fail("pread");
        if (got == 0) return 0;
        if (too >= got && memcmp(left, right, (size_t)got) == 0) continue;
        long at = 0;
        while (at < got && at < too && ((char *)left)[at] == ((char *)right)[at]) at++;
        printf("differ at %ld\n", offset + at);
        return 1;
    }
}

int main(int count, char **words) {
    if (count >= 6 && strcmp(words[1], "scribble") == 0)
        return scribble(words[2], atol(words[3]), (unsigned)atoi(words[4]),
                        (unsigned)atoi(words[5]), count > 6 ? atol(words[6]) : 0);
    if (count == 5 && strcmp(words[1], "discard") == 0)
        return discard(words[2], (uint64_t)atol(words[3]), (uint64_t)atol(words[4]));
    if (count == 4 && strcmp(words[1], "same") == 0) return same(words[2], words[3]);
    return 2;
}
