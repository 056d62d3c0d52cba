#pragma once

#include <stdint.h>

/* A probe of what stands on one open file or disk, by what libblkid knows. */
struct ringmirror_probe;

/* Prepares to look for filesystems, with bad checksums too, and partition tables. `fd` must stay
 * open while the probe lives. Returns 0 or an errno value. */
int ringmirror_probe_open(int fd, struct ringmirror_probe **probe);

void ringmirror_probe_close(struct ringmirror_probe *probe);

/* Looks for the next signature. Returns 0 or an errno value; `found` is 0 if there is none left. */
int ringmirror_probe_next(struct ringmirror_probe *probe, int *found);

/* A value of the signature that was found, such as TYPE; NULL if it has none of that name. It stays
 * the probe's, until the next one is looked for. */
const char *ringmirror_probe_value(struct ringmirror_probe *probe, const char *name);
