#pragma once

#include <stddef.h>
#include <stdint.h>

/* Whether this build can track disks: it was made with libbpf. */
int ringmirror_bpf_is_built_in(void);
