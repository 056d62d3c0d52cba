#include "CLinux.h"

static int count;
static char **arguments;

/* glibc calls constructors with the arguments of main. */
__attribute__((constructor)) static void keep_arguments(int argc, char **argv) {
    count = argc;
    arguments = argv;
}

int ringmirror_argument_count(void) { return count; }

const char *ringmirror_argument(int index) {
    return index >= 0 && index < count ? arguments[index] : NULL;
}
