#pragma once

#include <liburing.h>

/* Swift does not import the IOSQE_* macros, whose values are shifts of enumerators. */
static const unsigned ringmirror_sqe_fixed_file = IOSQE_FIXED_FILE;
