# strace and gdb of Debian inside the guest: children, threads, breakpoints, attaching.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "strace gdb procps"
cat >"$SCRATCH/threads.c" <<'S'
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *nothing(void *a) { return a; }
__attribute__((noinline)) int add(int a, int b) { return a + b; }
int main(int argc, char **argv)
{
    (void)argv;
    pthread_t t[4];
    for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, nothing, 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    int s = 0;
    for (int i = 0; i < 3; i++) s = add(s, i);
    printf("%d\n", s);
    for (; argc > 1;) sleep(1);
    return s;
}
S
riscv64-linux-gnu-gcc -g -O0 -pthread -o "$root/tmp/threads" "$SCRATCH/threads.c"

strace_ls() { local out; out=$(guest 60 "$root" /usr/bin/strace -f /bin/ls /) && grep -q '^exit_group(0) *= ?' <<<"$out" && grep -q '^+++ exited with 0 +++' <<<"$out" && grep -q 'getdents64(' <<<"$out"; }
strace_counts() { guest 60 "$root" /usr/bin/strace -c -f /bin/bash -c '/bin/ls / | /usr/bin/wc -l' | grep -qE '^100.00 +[0-9.]*[1-9][0-9]* .* total$'; }
strace_children() { local out; out=$(guest 60 "$root" /usr/bin/strace -f /bin/bash -c '/bin/ls / | /usr/bin/wc -l'); [ "$(grep -c '+++ exited with 0 +++' <<<"$out")" = 3 ]; }
strace_threads() { local out; out=$(guest 60 "$root" /usr/bin/strace -f -e trace=clone3,exit,exit_group /tmp/threads); [ "$(grep -c 'exit(0)\|exit resumed' <<<"$out")" = 4 ] && grep -q '^+++ exited with 3 +++' <<<"$out"; }
strace_attach() { guest 60 "$root" /bin/bash -c '/usr/bin/sleep 100 & sleep 0.3; /usr/bin/timeout 2 /usr/bin/strace -p $! 2>&1; kill $!' | grep -q 'clock_nanosleep.*<detached ...>\|restart_syscall\|clock_nanosleep(CLOCK_REALTIME'; }
gdb_breakpoints()
{
    local out
    out=$(guest 120 "$root" /usr/bin/gdb -batch -ex 'break add' -ex run -ex bt -ex 'print a' -ex continue -ex 'print b' -ex finish -ex stepi -ex next -ex delete -ex continue /tmp/threads)
    grep -q '#1 .* in main (' <<<"$out" && grep -q 'Value returned is .* = 1' <<<"$out" && grep -q 'exited with code 03' <<<"$out" && [ "$(grep -c 'New Thread' <<<"$out")" = 4 ]
}
gdb_attach() { guest 120 "$root" /bin/bash -c '/tmp/threads forever & sleep 1; gdb -batch -ex bt -ex detach -p $!; kill $!' | grep -q 'main (.*argc=2'; }
gdb_watch() { guest 120 "$root" /usr/bin/gdb -batch -ex 'break main' -ex run -ex 'set can-use-hw-watchpoints 0' -ex 'break add if a == 1' -ex continue -ex 'print a' -ex kill /tmp/threads | grep -q '\$1 = 1'; }
check "strace -f /bin/ls" strace_ls
check "strace follows children" strace_children
check "strace -c counts" strace_counts
check "strace follows threads" strace_threads
check "strace attaches to a process" strace_attach
check "gdb stops at breakpoints and steps" gdb_breakpoints
check "gdb attaches to a process" gdb_attach
check "gdb stops on a condition" gdb_watch
