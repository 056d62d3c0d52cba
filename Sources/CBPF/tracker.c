#include "CBPF.h"

#include <errno.h>

#ifdef RINGMIRROR_TRACKING

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tracker_object.h"

int ringmirror_bpf_is_built_in(void) { return 1; }

/* MARK: What the library says */

/* libbpf has one printer for all threads, but calls it on the thread that it works for. */
static _Thread_local struct {
    char *text;
    size_t size, length;
} messages;

static int keep_message(enum libbpf_print_level level, const char *format, va_list arguments) {
    if (level == LIBBPF_DEBUG || messages.length + 1 >= messages.size)
        return 0;
    size_t room = messages.size - messages.length;
    int count = vsnprintf(messages.text + messages.length, room, format, arguments);
    if (count > 0)
        messages.length += (size_t)count < room ? (size_t)count : room - 1;
    return 0;
}

/* MARK: Loading */

/* Bios in flight are seldom more; those that are go to a slower table of the same size. */
enum { buckets = 4096, overflow_bios = 16384 };

/* A descriptor that outlives the library's object. */
static int take(int *place, int fd) {
    if (fd < 0)
        return errno ? errno : EBADF;
    *place = dup(fd);
    if (*place < 0)
        return errno;
    return 0;
}

static int take_map(int *place, struct bpf_object *object, const char *name) {
    struct bpf_map *map = bpf_object__find_map_by_name(object, name);
    return map ? take(place, bpf_map__fd(map)) : ENOENT;
}

static int take_program(int *place, struct bpf_object *object, const char *name) {
    struct bpf_program *program = bpf_object__find_program_by_name(object, name);
    return program ? take(place, bpf_program__fd(program)) : ENOENT;
}

static int set_entries(struct bpf_object *object, const char *name, uint64_t count) {
    struct bpf_map *map = bpf_object__find_map_by_name(object, name);
    if (!map)
        return ENOENT;
    if (count > UINT32_MAX)
        return EFBIG;
    return -bpf_map__set_max_entries(map, count ? (uint32_t)count : 1);
}

/* The constants in the order in which the program declares them; checked by the sizes. */
struct constants {
    struct ringmirror_tracker_plan plan;
    uint32_t bucket_mask;
    uint32_t unused;
};

static int prepare(struct bpf_object *object, const struct ringmirror_tracker_plan *plan) {
    struct constants constants = {*plan, plan->is_bio_based ? buckets - 1 : 0, 0};
    struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
    size_t size = 0;
    if (!map || !bpf_map__initial_value(map, &size))
        return ENOENT;
    if (size > sizeof constants || size < offsetof(struct constants, unused))
        return EINVAL;
    int failure = -bpf_map__set_initial_value(map, &constants, size);
    uint64_t granules = plan->sector_count >> plan->granule_shift;
    if (plan->sector_count & ((1ULL << plan->granule_shift) - 1))
        granules++;
    uint64_t words = (granules + 63) / 64;
    int cpus = libbpf_num_possible_cpus();
    if (!failure && cpus < 1)
        failure = cpus ? -cpus : EINVAL;
    const struct {
        const char *name;
        uint64_t count;
    } sizes[] = {
        {"told", (uint64_t)cpus << ringmirror_tracker_told_bits},
        {"bits", words},
        {"held", words},
        {"ever", words},
        {"coarse", (words + 63) / 64},
        {"bios", plan->is_bio_based ? buckets : 1},
        {"overflow", plan->is_bio_based ? overflow_bios : 1},
    };
    for (size_t index = 0; !failure && index < sizeof sizes / sizeof *sizes; index++)
        failure = set_entries(object, sizes[index].name, sizes[index].count);
    return failure;
}

static int take_all(struct bpf_object *object, int *maps, int *programs) {
    static const char *const map_names[ringmirror_tracker_maps] = {
        "bits", "coarse", "held", "ever", ".bss",
    };
    static const char *const program_names[ringmirror_tracker_programs] = {
        "request_1", "request_2", "request_3", "bio_1", "bio_2",
        "bio_3", "queue_1", "queue_2", "queue_3",
    };
    int failure = 0;
    for (int index = 0; !failure && index < ringmirror_tracker_maps; index++)
        failure = take_map(&maps[index], object, map_names[index]);
    for (int index = 0; !failure && index < ringmirror_tracker_programs; index++)
        failure = take_program(&programs[index], object, program_names[index]);
    return failure;
}

int ringmirror_tracker_load(
    const struct ringmirror_tracker_plan *plan, int *maps, int *programs, char *log,
    size_t log_size) {
    if (log_size)
        *log = 0;
    messages.text = log;
    messages.size = log_size;
    messages.length = 0;
    libbpf_print_fn_t previous = libbpf_set_print(keep_message);
    LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "ringmirror");
    struct bpf_object *object =
        bpf_object__open_mem(tracker_object, sizeof tracker_object, &options);
    int failure = object ? prepare(object, plan) : errno;
    if (!failure)
        failure = -bpf_object__load(object);
    if (!failure)
        failure = take_all(object, maps, programs);
    if (object)
        bpf_object__close(object);
    libbpf_set_print(previous);
    messages.size = 0;
    return failure;
}

/* MARK: Attaching and pinning */

int ringmirror_tracker_attach(int program, int *link) {
    *link = bpf_raw_tracepoint_open(NULL, program);
    return *link < 0 ? errno : 0;
}

int ringmirror_bpf_pin(int fd, const char *path) { return -bpf_obj_pin(fd, path); }

int ringmirror_bpf_open(const char *path) { return bpf_obj_get(path); }

int ringmirror_bpf_mount(const char *path) {
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME;
    return mount("bpf", path, "bpf", flags, "mode=0700") ? errno : 0;
}

/* MARK: Looking */

int ringmirror_bpf_look_at_program(int fd, struct ringmirror_bpf_program *result) {
    struct bpf_prog_info info = {};
    uint32_t size = sizeof info;
    int failure = -bpf_obj_get_info_by_fd(fd, &info, &size);
    if (failure)
        return failure;
    result->id = info.id;
    memcpy(&result->tag, info.tag, sizeof result->tag);
    return 0;
}

int ringmirror_bpf_look_at_link(int fd, uint32_t *program) {
    struct bpf_link_info info = {};
    uint32_t size = sizeof info;
    int failure = -bpf_obj_get_info_by_fd(fd, &info, &size);
    if (failure)
        return failure;
    if (info.type != BPF_LINK_TYPE_RAW_TRACEPOINT && info.type != BPF_LINK_TYPE_TRACING)
        return EINVAL;
    *program = info.prog_id;
    return 0;
}

int ringmirror_bpf_look_at_map(int fd, uint64_t *bytes) {
    struct bpf_map_info info = {};
    uint32_t size = sizeof info;
    int failure = -bpf_obj_get_info_by_fd(fd, &info, &size);
    if (failure)
        return failure;
    *bytes = (uint64_t)info.value_size * info.max_entries;
    return 0;
}

#else

int ringmirror_bpf_is_built_in(void) { return 0; }

int ringmirror_tracker_load(
    const struct ringmirror_tracker_plan *plan, int *maps, int *programs, char *log,
    size_t log_size) {
    (void)plan, (void)maps, (void)programs;
    if (log_size)
        *log = 0;
    return ENOSYS;
}

int ringmirror_tracker_attach(int program, int *link) {
    (void)program, (void)link;
    return ENOSYS;
}

int ringmirror_bpf_pin(int fd, const char *path) {
    (void)fd, (void)path;
    return ENOSYS;
}

int ringmirror_bpf_open(const char *path) {
    (void)path;
    errno = ENOSYS;
    return -1;
}

int ringmirror_bpf_mount(const char *path) {
    (void)path;
    return ENOSYS;
}

int ringmirror_bpf_look_at_program(int fd, struct ringmirror_bpf_program *result) {
    (void)fd, (void)result;
    return ENOSYS;
}

int ringmirror_bpf_look_at_link(int fd, uint32_t *program) {
    (void)fd, (void)program;
    return ENOSYS;
}

int ringmirror_bpf_look_at_map(int fd, uint64_t *bytes) {
    (void)fd, (void)bytes;
    return ENOSYS;
}

#endif
