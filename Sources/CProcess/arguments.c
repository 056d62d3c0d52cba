#include "CProcess.h"

static int count;
static char **arguments;

/* glibc calls constructors with the arguments of main. This is the first one: the others look at
 * the arguments already. */
__attribute__((constructor(101))) static void keep_arguments(int argc, char **argv) {
    count = argc;
    arguments = argv;
}

int ringmirror_argument_count(void) { return count; }

const char *ringmirror_argument(int index) {
    return index >= 0 && index < count ? arguments[index] : NULL;
}
