#ifndef C_ALLOCATION_COUNT_H
#define C_ALLOCATION_COUNT_H

#include <stdint.h>

/// How often the calling thread has asked for memory of the heap. A resize is counted as well.
uint64_t allocation_count(void);

#endif
