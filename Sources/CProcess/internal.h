#pragma once

#include <stddef.h>

/* Ends the process as a failed command: a message on standard error, and with --json an event on
 * standard output. The texts are of ASCII without quotes. Allocates nothing. */
__attribute__((noreturn)) void ringmirror_end(
    const char *code, const char *what, const char *remedy);

/* The same for memory that was refused, with the limit that may be the reason. */
__attribute__((noreturn)) void ringmirror_out_of_memory(size_t bytes);
