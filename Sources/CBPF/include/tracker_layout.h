#pragma once

#include <stdint.h>

/*
 * What the BPF program and its readers share. A pinned tracker may be older than the program that
 * opens it: whoever changes a structure here, or what one of them means, raises the version.
 */

static const uint64_t ringmirror_tracker_magic = 0x314b434152544d52; /* "RMTRACK1" */
static const uint32_t ringmirror_tracker_version = 2;

/* A tracker is ready when its self test has passed. What is found in another state was left by a
 * process that ended too early. */
static const uint32_t ringmirror_tracker_starting = 1;
static const uint32_t ringmirror_tracker_ready = 2;

/* Three events, and so many copies of the program of each. */
enum { ringmirror_tracker_copies = 3, ringmirror_tracker_programs = 9 };
/* Each CPU has so many places, as a power of two, in which the copies tell each other of events. */
enum { ringmirror_tracker_told_bits = 10 };

/* Fixed when the program is loaded, so that the kernel compiles it in. */
struct ringmirror_tracker_plan {
    uint32_t major, minor; /* of the whole disk, also where a partition is tracked */
    uint32_t granule_shift; /* a granule is 512 << granule_shift bytes */
    uint32_t is_bio_based; /* the disk has no request queue */
    uint64_t first_sector, sector_count; /* the tracked range of the disk */
};

/* One line of counters for each CPU, shared by those whose numbers are 256 apart. */
struct ringmirror_tracker_counts {
    uint64_t queued; /* bytes of the whole disk, as all that follows */
    uint64_t completed;
    uint64_t too_long; /* ranges that were not marked to their end */
    uint64_t table_full; /* bios whose range could not be kept */
    uint64_t unknown; /* bios that completed and were never queued */
    uint64_t passthrough; /* commands that write what no event tells */
    uint64_t refused; /* bytes that completed before the driver had them, which no disk counts */
    uint64_t unused;
};

/* What belongs to a tracker and is no mark. The program writes the probe's counters alone. */
struct ringmirror_tracker_info {
    uint64_t magic;
    uint32_t version;
    uint32_t state;
    uint8_t id[16];
    struct ringmirror_tracker_plan plan;
    uint32_t device_major, device_minor; /* of what was given: the disk or a partition of it */
    uint64_t disk_sequence; /* 0 where the kernel has none */
    uint64_t disk_sectors; /* size of the whole disk at the start */
    int64_t started_at; /* nanoseconds since 1970 */
    uint32_t program_ids[ringmirror_tracker_programs];
    /* The kernel's account can be switched off and on, and was on at the start. */
    uint32_t has_switch;
    uint64_t program_tags[ringmirror_tracker_programs];

    /* What the kernel's own counters had after the programs were attached, in sectors. */
    uint64_t kernel_sectors_at_start;
    /* What the programs had seen completed, less what was refused, at most when those were read. */
    uint64_t completed_at_start;
    /* Queued less completed bytes when nothing is in flight. */
    int64_t floor;
    uint32_t is_floor_known;
    /* Nothing was in flight when the kernel's counters were read. */
    uint32_t is_count_exact;
    /* Bytes of completions that were not seen, after which the marks were put back; less those that
     * were counted twice. */
    int64_t forgiven;
    /* The number of the last merge of marks into a store that was tried, and of the last one after
     * which they were forgotten here. A store that knows only of an older one is an old copy. */
    uint64_t last_merge, last_release;
    /* Of the table of a device-mapper disk; 0 for others. */
    uint64_t table_hash;
    /* Bios that had been queued before the programs were attached. */
    uint64_t unknown_at_start;

    /* A read of these bytes is counted while `probing` is not 0. */
    uint32_t probing;
    uint32_t probe_bytes;
    uint64_t probe_sector;
    uint64_t probe_bio;
    uint64_t probe_queued, probe_completed;
};

enum { ringmirror_tracker_lines = 256 };

/* One value of one map, which is mapped into memory as a whole. */
struct ringmirror_tracker_state {
    struct ringmirror_tracker_info info;
    struct ringmirror_tracker_counts lines[ringmirror_tracker_lines]
        __attribute__((aligned(64)));
    int64_t overflowing; /* bios that found no room in the first table */
};

/* The range of a bio between its two events, on disks without requests. `bio` is 0 where the entry
 * is free. */
struct ringmirror_tracker_bio {
    uint64_t bio;
    uint64_t sector;
    uint64_t bytes;
    uint64_t unused;
};

enum { ringmirror_tracker_ways = 4 };

struct ringmirror_tracker_bucket {
    struct ringmirror_tracker_bio bios[ringmirror_tracker_ways];
};
