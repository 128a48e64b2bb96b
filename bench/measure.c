/* measure RESULT COMMAND [ARG...]: runs the command and writes "wall cpu peakKiB status" to the file RESULT (seconds, KiB, the shell's exit status).
 * A small process of its own, because the kernel counts the resident set of whoever forks into the child's peak. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
extern char **environ;
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
int main(int argc, char **argv)
{
    pid_t pid;
    int status, error;
    struct rusage u;
    if (argc < 3) return 2;
    double start = now();
    if ((error = posix_spawnp(&pid, argv[2], 0, 0, argv + 2, environ))) {
        fprintf(stderr, "measure: cannot run '%s': %s\n", argv[2], strerror(error));
        return 127;
    }
    while (wait4(pid, &status, 0, &u) < 0) {}
    double wall = now() - start;
    FILE *f = fopen(argv[1], "w");
    if (!f) return 2;
    fprintf(f, "%.9f %.6f %ld %d\n", wall, u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6, u.ru_maxrss,
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fclose(f);
    return 0;
}
