#include "CBPF.h"

static uint64_t load(const uint64_t *place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }

size_t ringmirror_tracker_state_size(void) { return sizeof(struct ringmirror_tracker_state); }

struct ringmirror_tracker_info *ringmirror_tracker_info_of(void *state) {
    return &((struct ringmirror_tracker_state *)state)->info;
}

void ringmirror_tracker_sum(const void *memory, struct ringmirror_tracker_counts *sum) {
    const struct ringmirror_tracker_state *state = memory;
    *sum = (struct ringmirror_tracker_counts){};
    for (int index = 0; index < ringmirror_tracker_lines; index++)
        sum->completed += load(&state->lines[index].completed);
    /* After those: what was refused counts among them. */
    for (int index = 0; index < ringmirror_tracker_lines; index++) {
        const struct ringmirror_tracker_counts *line = &state->lines[index];
        sum->queued += load(&line->queued);
        sum->too_long += load(&line->too_long);
        sum->table_full += load(&line->table_full);
        sum->unknown += load(&line->unknown);
        sum->passthrough += load(&line->passthrough);
        sum->refused += load(&line->refused);
    }
}

void ringmirror_tracker_probe(void *state, uint64_t sector, uint32_t bytes) {
    struct ringmirror_tracker_info *info = ringmirror_tracker_info_of(state);
    __atomic_store_n(&info->probing, 0, __ATOMIC_SEQ_CST);
    if (!bytes)
        return;
    __atomic_store_n(&info->probe_sector, sector, __ATOMIC_RELAXED);
    __atomic_store_n(&info->probe_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&info->probe_bio, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&info->probe_queued, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&info->probe_completed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&info->probing, 1, __ATOMIC_SEQ_CST);
}

void ringmirror_tracker_probed(const void *memory, uint64_t *queued, uint64_t *completed) {
    const struct ringmirror_tracker_state *state = memory;
    *completed = load(&state->info.probe_completed);
    *queued = load(&state->info.probe_queued);
}
