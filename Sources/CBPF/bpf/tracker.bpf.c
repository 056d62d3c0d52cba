/* SPDX-License-Identifier: MIT OR GPL-2.0-only
 *
 * This file alone is under both licences: the kernel loads no other program that reads its
 * structures.
 *
 * Marks in a bitmap what is written to one disk: when a write is submitted, and again when it has
 * completed, before its writer is told. See docs of the module KernelTracking for why both.
 *
 * `make bpf` compiles it into tracker_object.h. It needs no header but clang's own, so that the same
 * compiler gives the same object everywhere.
 */

#include "../include/tracker_layout.h"

#define SEC(name) __attribute__((section(name), used))
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* The loader replaces what is read through these by the offsets of the kernel that runs. */
#define KERNEL __attribute__((preserve_access_index))
#define FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)

char program_license[] SEC("license") = "Dual MIT/GPL";

/* MARK: The kernel */

struct gendisk {
    int major, first_minor;
} KERNEL;

struct block_device {
    struct gendisk *bd_disk;
} KERNEL;

struct bvec_iter {
    uint64_t bi_sector;
    uint32_t bi_size;
} KERNEL;

struct bio {
    struct bio *bi_next;
    struct block_device *bi_bdev;
    uint32_t bi_opf;
    uint8_t bi_status;
    struct bvec_iter bi_iter;
    void *bi_private;
} KERNEL;

struct request_queue {
    struct gendisk *disk;
} KERNEL;

struct request {
    struct request_queue *q;
    uint32_t cmd_flags;
    uint64_t __sector;
    struct bio *bio;
} KERNEL;

/* Up to 5.16. */
struct request___5_16 {
    struct gendisk *rq_disk;
} KERNEL;

enum {
    operation_mask = 255, /* of bi_opf and cmd_flags */
    operation_moves_out = 1, /* set in every operation that changes a disk */
    operation_discard = 3,
    operation_secure_erase = 5,
    operation_first_passthrough = 32,
    status_again = 12, /* of a bio that was not to wait */
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, uint64_t flags) =
    (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static uint32_t (*const current_cpu)(void) = (void *)8;
static long (*const read_kernel)(void *to, uint32_t size, const void *from) = (void *)113;

/* MARK: Maps */

enum { map_hash = 1, map_array = 2, mmapable = 1 << 10 };

#define MAP_NUMBER(name, value) int(*name)[value]
#define MAP_TYPE(name, value) __typeof__(value) *name

#define MARKS \
    struct { \
        MAP_NUMBER(type, map_array); \
        MAP_NUMBER(map_flags, mmapable); \
        MAP_NUMBER(max_entries, 1); \
        MAP_TYPE(key, uint32_t); \
        MAP_TYPE(value, uint64_t); \
    }

/* A bit for each granule of the range; a bit for each word of `bits`, which stands for all of it.
 * Those two are marked here. `held` is what was taken and is not durable elsewhere yet, `ever` what
 * was taken since it was last proven that no event is missing. */
MARKS bits SEC(".maps");
MARKS coarse SEC(".maps");
MARKS held SEC(".maps");
MARKS ever SEC(".maps");

struct {
    MAP_NUMBER(type, map_array);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, uint32_t);
    MAP_TYPE(value, struct ringmirror_tracker_bucket);
} bios SEC(".maps");

/* The bios for which their bucket has no room. */
struct {
    MAP_NUMBER(type, map_hash);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, uint64_t);
    MAP_TYPE(value, struct ringmirror_tracker_bio);
} overflow SEC(".maps");

/* Events that one copy of a program has seen, and the next is to leave alone. */
struct {
    MAP_NUMBER(type, map_array);
    MAP_NUMBER(max_entries, 1 << ringmirror_tracker_told_bits);
    MAP_TYPE(key, uint32_t);
    MAP_TYPE(value, uint64_t);
} told SEC(".maps");

const volatile struct ringmirror_tracker_plan plan = {};
/* One less than the number of buckets, which is a power of two. */
const volatile uint32_t bucket_mask = 0;

struct ringmirror_tracker_state state = {};

#define ADD(place, number) ((void)__sync_fetch_and_add(&(place), (number)))

static ALWAYS_INLINE struct ringmirror_tracker_counts *line(void) {
    return &state.lines[current_cpu() & (ringmirror_tracker_lines - 1)];
}

/* MARK: Marking */

static ALWAYS_INLINE void set(void *map, uint32_t word, uint64_t mask, int is_submission) {
    uint64_t *place = map_lookup(map, &word);
    if (!place)
        return;
    /* At a completion always: what a test reads may be older than a taker's clearing, and then the
     * mark that has to follow it would be missing. At a submission a second mark is to come. */
    if (is_submission && (*(volatile uint64_t *)place & mask) == mask)
        return;
    (void)__sync_fetch_and_or(place, mask);
}

static ALWAYS_INLINE uint64_t from_bit(uint32_t bit) { return ~0ULL << (bit & 63); }
static ALWAYS_INLINE uint64_t to_bit(uint32_t bit) { return ~0ULL >> (63 - (bit & 63)); }

/* A range of several words: its ends in the fine bitmap, what lies between in the coarse one, so
 * that no loop is longer than the verifiers of all kernels follow. Not static: then it is verified
 * once, and not at each call. */
__attribute__((noinline)) int mark_words(uint64_t first, uint64_t last) {
    uint32_t word = (first >> 6) + 1, end = last >> 6;
    set(&bits, word - 1, from_bit(first), 0);
    set(&bits, end, to_bit(last), 0);
    if (word >= end)
        return 0;
    uint32_t group = word >> 6, last_group = (end - 1) >> 6;
    if (group == last_group) {
        set(&coarse, group, from_bit(word) & to_bit(end - 1), 0);
        return 0;
    }
    set(&coarse, group, from_bit(word), 0);
    set(&coarse, last_group, to_bit(end - 1), 0);
    /* A bio has less than 4 GiB: no more words than that at granules of 4 KiB. */
    for (int round = 0; round < 256; round++) {
        if (++group >= last_group)
            return 0;
        uint64_t *place = map_lookup(&coarse, &group);
        if (!place)
            return 0;
        (void)__sync_fetch_and_or(place, ~0ULL);
    }
    if (group + 1 < last_group)
        ADD(line()->too_long, 1);
    return 0;
}

static ALWAYS_INLINE void mark(uint64_t sector, uint32_t bytes, int is_submission) {
    uint64_t end = sector + (bytes >> 9), start = plan.first_sector;
    uint64_t limit = start + plan.sector_count;
    if (sector < start)
        sector = start;
    if (end > limit)
        end = limit;
    if (sector >= end)
        return;
    uint64_t first = (sector - start) >> (plan.granule_shift & 31);
    uint64_t last = (end - 1 - start) >> (plan.granule_shift & 31);
    if (first >> 6 == last >> 6)
        set(&bits, first >> 6, from_bit(first) & to_bit(last), is_submission);
    else
        mark_words(first, last);
}

/* Verified once, as `mark_words` is. */
__attribute__((noinline)) int mark_completed(uint64_t sector, uint32_t bytes) {
    mark(sector, bytes, 0);
    return 0;
}

/* MARK: Bios between their events */

/* A number for a bio or request of this disk. The verifier refuses arithmetic with a pointer, so
 * that an address can't be hashed; but the difference of two of them is a number to it. */
static ALWAYS_INLINE uint64_t key_of(const void *pointer, struct gendisk *disk) {
    uint64_t key = (uint64_t)pointer - (uint64_t)disk;
    /* The compiler must not put the pointers back where they are compared. */
    __asm__ volatile("" : "+r"(key));
    return key;
}

static ALWAYS_INLINE struct ringmirror_tracker_bucket *bucket(uint64_t bio) {
    uint32_t index = (bio * 0x9E3779B97F4A7C15ULL) >> 40 & bucket_mask;
    return map_lookup(&bios, &index);
}

static ALWAYS_INLINE void keep(uint64_t bio, uint64_t sector, uint32_t bytes) {
    struct ringmirror_tracker_bucket *place = bucket(bio);
    if (!place)
        return;
    /* One of this address that is still there is an older bio, whose completion was not seen. */
    for (int way = 0; way < ringmirror_tracker_ways; way++) {
        struct ringmirror_tracker_bio *entry = &place->bios[way];
        if (entry->bio != bio)
            continue;
        entry->sector = sector;
        entry->bytes = bytes;
        return;
    }
    for (int way = 0; way < ringmirror_tracker_ways; way++) {
        struct ringmirror_tracker_bio *entry = &place->bios[way];
        if (entry->bio || __sync_val_compare_and_swap(&entry->bio, 0, bio))
            continue;
        /* Nobody looks for this bio before its driver has it, which is later. */
        entry->sector = sector;
        entry->bytes = bytes;
        return;
    }
    struct ringmirror_tracker_bio entry = {bio, sector, bytes, 0};
    if (map_update(&overflow, &bio, &entry, 0))
        ADD(line()->table_full, 1);
    else
        ADD(state.overflowing, 1);
}

/* Takes a bio out again; 0 if it is not there. */
static ALWAYS_INLINE int forget(uint64_t bio, uint64_t *sector, uint32_t *bytes) {
    struct ringmirror_tracker_bucket *place = bucket(bio);
    if (!place)
        return 0;
    for (int way = 0; way < ringmirror_tracker_ways; way++) {
        struct ringmirror_tracker_bio *entry = &place->bios[way];
        if (entry->bio != bio)
            continue;
        *sector = entry->sector;
        *bytes = entry->bytes;
        /* An exchange, for its barrier: the entry is free when it has been read. */
        (void)__sync_lock_test_and_set(&entry->bio, 0);
        return 1;
    }
    if (!*(volatile int64_t *)&state.overflowing)
        return 0;
    struct ringmirror_tracker_bio *entry = map_lookup(&overflow, &bio);
    if (!entry)
        return 0;
    *sector = entry->sector;
    *bytes = entry->bytes;
    map_delete(&overflow, &bio);
    ADD(state.overflowing, -1);
    return 1;
}

static ALWAYS_INLINE int is_kept(uint64_t bio) {
    struct ringmirror_tracker_bucket *place = bucket(bio);
    if (!place)
        return 0;
    for (int way = 0; way < ringmirror_tracker_ways; way++)
        if (place->bios[way].bio == bio)
            return 1;
    return map_lookup(&overflow, &bio) != 0;
}

/* A piece of a bio that was split has an event at its completion, and none before. What it is a
 * piece of completes after it, with the whole range, and is kept until then. */
static ALWAYS_INLINE int is_piece(struct bio *bio, struct gendisk *disk) {
    uint64_t address = 0, whole = 0;
    /* An address can be calculated with only if it was read by a helper. */
    if (read_kernel(&address, sizeof address, &bio) ||
        read_kernel(&whole, sizeof whole, &bio->bi_private))
        return 0;
    return is_kept(whole - address + key_of(bio, disk));
}

/* MARK: Events */

static ALWAYS_INLINE int is_ours(struct gendisk *disk) {
    return (uint32_t)disk->major == plan.major && (uint32_t)disk->first_minor == plan.minor;
}

static ALWAYS_INLINE int is_probing(void) { return *(volatile uint32_t *)&state.info.probing; }

/* The kernel leaves a program out on a CPU on which it is running: when an interrupt comes in the
 * middle of it, for whatever disk. So there are three copies of each, which are run one after the
 * other: as many as there are contexts that interrupt each other (a task, a soft interrupt, a hard
 * one), so that one of them is run for each event. The first one counts it and tells the others; the
 * last one forgets it, so that the same event may come again. Two events that share a place may make
 * one of them count twice, which shows in the balance. */
static ALWAYS_INLINE int is_told(uint64_t key, uint64_t sector, uint32_t bytes, int copy) {
    const uint64_t odd = 0x9E3779B97F4A7C15ULL;
    uint64_t event = ((key * odd ^ sector) * odd ^ bytes) | 1;
    uint32_t hash = (uint32_t)(event >> (64 - ringmirror_tracker_told_bits));
    uint32_t index = current_cpu() << ringmirror_tracker_told_bits | hash;
    uint64_t *place = map_lookup(&told, &index);
    if (!place)
        return 0;
    /* Before the first copy nobody has told: what is found is left from an event that the last one
     * did not see. */
    int was_told = copy != 1 && *(volatile uint64_t *)place == event;
    *(volatile uint64_t *)place = copy == ringmirror_tracker_copies ? 0 : event;
    return was_told;
}

#define COPIES(point, name) \
    SEC("tp_btf/" point) int name##_1(uint64_t *context) { return on_##name(context, 1); } \
    SEC("tp_btf/" point) int name##_2(uint64_t *context) { return on_##name(context, 2); } \
    SEC("tp_btf/" point) int name##_3(uint64_t *context) { return on_##name(context, 3); }

static ALWAYS_INLINE int on_queue(uint64_t *context, int copy) {
    struct bio *bio = (void *)context[0];
    if (!(bio->bi_opf & operation_moves_out)) {
        if (!is_probing())
            return 0;
        struct gendisk *disk = bio->bi_bdev->bd_disk;
        if (is_ours(disk) && bio->bi_iter.bi_sector == state.info.probe_sector &&
            bio->bi_iter.bi_size == state.info.probe_bytes) {
            state.info.probe_bio = key_of(bio, disk);
            ADD(state.info.probe_queued, 1);
        }
        return 0;
    }
    struct gendisk *disk = bio->bi_bdev->bd_disk;
    if (!is_ours(disk))
        return 0;
    uint64_t sector = bio->bi_iter.bi_sector;
    uint32_t bytes = bio->bi_iter.bi_size;
    /* A flush moves nothing. */
    if (!bytes || is_told(key_of(bio, disk), sector, bytes, copy))
        return 0;
    ADD(line()->queued, bytes);
    if (plan.is_bio_based)
        keep(key_of(bio, disk), sector, bytes);
    mark(sector, bytes, 1);
    return 0;
}

COPIES("block_bio_queue", queue)

static ALWAYS_INLINE int on_bio(uint64_t *context, int copy) {
    struct bio *bio = (void *)context[1];
    struct block_device *device = bio->bi_bdev;
    if (!(bio->bi_opf & operation_moves_out)) {
        if (plan.is_bio_based && is_probing() && device && is_ours(device->bd_disk) &&
            key_of(bio, device->bd_disk) == state.info.probe_bio)
            ADD(state.info.probe_completed, 1);
        return 0;
    }
    if (!device)
        return 0;
    struct gendisk *disk = device->bd_disk;
    if (!is_ours(disk))
        return 0;
    uint64_t sector = bio->bi_iter.bi_sector;
    uint32_t bytes = bio->bi_iter.bi_size;
    if (is_told(key_of(bio, disk), sector, bytes, copy))
        return 0;
    /* The driver has moved the bio's range along: what it was is kept. On disks with requests only
     * those complete here that never became one. */
    if (plan.is_bio_based && !forget(key_of(bio, disk), &sector, &bytes)) {
        if (bytes && !is_piece(bio, disk)) {
            ADD(line()->unknown, 1);
            mark(sector, bytes, 0);
        }
        return 0;
    }
    mark(sector, bytes, 0);
    if (!bytes)
        return 0;
    if (!plan.is_bio_based || bio->bi_status == status_again)
        ADD(line()->refused, bytes);
    ADD(line()->completed, bytes);
    return 0;
}

COPIES("block_bio_complete", bio)

static ALWAYS_INLINE int on_request(uint64_t *context, int copy) {
    struct request *request = (void *)context[0];
    uint32_t bytes = context[2], operation = request->cmd_flags & operation_mask;
    if (!(operation & operation_moves_out) && !is_probing())
        return 0;
    struct gendisk *disk;
    if (FIELD_EXISTS(((struct request___5_16 *)0)->rq_disk))
        disk = ((struct request___5_16 *)request)->rq_disk;
    else
        disk = request->q->disk;
    if (!disk || !is_ours(disk))
        return 0;
    uint64_t sector = request->__sector;
    if (!(operation & operation_moves_out)) {
        if (sector == state.info.probe_sector && bytes == state.info.probe_bytes)
            ADD(state.info.probe_completed, 1);
        return 0;
    }
    if (is_told(key_of(request, disk), sector, bytes, copy))
        return 0;
    if (operation >= operation_first_passthrough) {
        ADD(line()->passthrough, 1);
        return 0;
    }
    if (!bytes)
        return 0;
    if (operation == operation_discard || operation == operation_secure_erase) {
        /* The ranges of its bios need not touch. */
        struct bio *bio = request->bio;
        for (int count = 0; count < 256 && bio; count++) {
            mark_completed(bio->bi_iter.bi_sector, bio->bi_iter.bi_size);
            bio = bio->bi_next;
        }
        if (bio)
            ADD(line()->too_long, 1);
    } else {
        mark(sector, bytes, 0);
    }
    ADD(line()->completed, bytes);
    return 0;
}

COPIES("block_rq_complete", request)
