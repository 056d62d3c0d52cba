#include "CProcess.h"
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The exit code of a job that failed (docs/cli.md). */
enum { exit_failed = 1 };

static int wants_json(void) {
    for (int index = 1; index < ringmirror_argument_count(); index++) {
        const char *argument = ringmirror_argument(index);
        if (strcmp(argument, "--") == 0)
            return 0;
        if (strcmp(argument, "--json") == 0)
            return 1;
    }
    return 0;
}

static void say(int descriptor, const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t count = write(descriptor, text, left);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return;
        text += count;
        left -= (size_t)count;
    }
}

void ringmirror_end(const char *code, const char *what, const char *remedy) {
    char text[1024];
    if (wants_json()) {
        snprintf(
            text, sizeof text,
            "{\"code\":\"%s\",\"event\":\"error\",\"exitCode\":%d,\"message\":\"%s. %s\","
            "\"remedy\":\"%s\"}\n",
            code, exit_failed, what, remedy, remedy);
        say(STDOUT_FILENO, text);
    }
    snprintf(text, sizeof text, "ringmirror: %s. %s\n", what, remedy);
    say(STDERR_FILENO, text);
    /* Nothing is cleaned up: what runs at an exit would need memory. Files are as after a kill. */
    _exit(exit_failed);
}
