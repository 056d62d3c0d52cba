#pragma once

/*
 * BPF programs that mark what is written to one disk, and what libbpf is needed for: loading them,
 * and keeping them in a filesystem of the kernel. Without libbpf, every function but the first
 * returns ENOSYS.
 *
 * Every function returns 0 or an errno value, if nothing else is said.
 */

#include <stddef.h>
#include <stdint.h>

#include "tracker_layout.h"

/* Whether this build can track disks: it was made with libbpf. */
int ringmirror_bpf_is_built_in(void);

enum { ringmirror_tracker_maps = 5 };

/* Loads the programs and makes their maps; nothing is attached. `maps` gets the descriptors of the
 * bits, coarse, held and ever marks and of the state, `programs` those of the copies for requests,
 * then bios, then what is queued; the caller closes them. What was not made, after a failure, is as
 * it was. The first `log_size` bytes of what the library and the kernel say go to `log`, as a
 * string. */
int ringmirror_tracker_load(
    const struct ringmirror_tracker_plan *plan, int *maps, int *programs, char *log,
    size_t log_size);

/* Begins to run a program at its event. Completions have to be first, so that nothing is seen
 * queued that is not seen completed. */
int ringmirror_tracker_attach(int program, int *link);

/* Gives what a descriptor stands for a name in a bpffs, under which it outlives every process. */
int ringmirror_bpf_pin(int fd, const char *path);

/* A descriptor of what has this name, or -1 and errno. */
int ringmirror_bpf_open(const char *path);

/* Mounts a bpffs. */
int ringmirror_bpf_mount(const char *path);

static const int64_t ringmirror_bpf_magic = 0xcafe4a11; /* of a bpffs */

struct ringmirror_bpf_program {
    uint32_t id;
    uint64_t tag;
};

int ringmirror_bpf_look_at_program(int fd, struct ringmirror_bpf_program *result);

/* The program that a link lets run. */
int ringmirror_bpf_look_at_link(int fd, uint32_t *program);

/* Bytes of all values of an array. */
int ringmirror_bpf_look_at_map(int fd, uint64_t *bytes);

/* MARK: The state in memory; these need no library. `state` is a ringmirror_tracker_state, which
 * Swift can't import for its alignment. */

size_t ringmirror_tracker_state_size(void);

/* The first member of the state. */
struct ringmirror_tracker_info *ringmirror_tracker_info_of(void *state);

/* Adds up all lines. What has completed is read before what was queued, so that nothing seems to
 * have completed before it was queued. */
void ringmirror_tracker_sum(const void *state, struct ringmirror_tracker_counts *sum);

/* Has reads of exactly these bytes counted, from 0; of no bytes: no more. */
void ringmirror_tracker_probe(void *state, uint64_t sector, uint32_t bytes);

void ringmirror_tracker_probed(const void *state, uint64_t *queued, uint64_t *completed);
