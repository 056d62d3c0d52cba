#include "CBPF.h"

int ringmirror_bpf_is_built_in(void) {
#ifdef RINGMIRROR_TRACKING
    return 1;
#else
    return 0;
#endif
}
