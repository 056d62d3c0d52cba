#pragma once

/*
 * What the program needs of C before Swift's runtime begins, and below it: its arguments, the
 * limits that it was started with, and what becomes of memory that is refused.
 *
 * Nothing here belongs into a library: it decides over the whole process.
 */

#include <stddef.h>

/* The arguments of main, byte for byte. They live as long as the process. */
int ringmirror_argument_count(void);
const char *ringmirror_argument(int index);
