# bash: pipes, here documents, traps, job control on a terminal of its own.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "bsdutils diffutils gawk python3-minimal python3"
cat >"$root/tmp/pipes.sh" <<'S'
set -e
test "$(seq 1 1000 | sort -rn | head -n 3 | tr '\n' ' ')" = "1000 999 998 "
test "$(diff <(printf 'a\nb\n') <(printf 'a\nc\n') | wc -l)" = 4
x=$(mktemp); trap 'rm -f $x' EXIT; cat >$x <<T
$(for i in {1..50}; do echo $i & done; wait)
T
test "$(sort -n $x | uniq | wc -l)" = 50
(exit 7) || test $? = 7
sh -c 'kill -TERM $$' || test $? = 143
coproc C { while read l; do echo "got $l"; done; }
echo hi >&${C[1]}; read a <&${C[0]}; test "$a" = "got hi"
for i in $(seq 200); do /bin/true; done
set -o pipefail; ! false | cat
S
cat >"$root/tmp/jobs.py" <<'S'
# Drives bash on a pseudo-terminal as a person would: a stopped and continued job, an interrupted one.
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = "$ "
    os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def wait(text, seconds=30):
    global seen
    end = time.time() + seconds
    while text not in seen:
        if time.time() > end: sys.exit("no %r in %r" % (text, seen[-400:]))
        if select.select([fd], [], [], 0.2)[0]: seen += os.read(fd, 4096)
    seen = seen[seen.index(text) + len(text):]
def send(text): os.write(fd, text)
wait(b"$ ")
send(b"sleep 100\n"); time.sleep(1); send(b"\x1a"); wait(b"Stopped")
send(b"jobs; echo A$((1+1))\n"); wait(b"A2")
send(b"bg; jobs -r; echo B$((1+1))\n"); wait(b"Running"); wait(b"B2")
send(b"kill %1; wait; echo C$((1+1))\n"); wait(b"C2")
send(b"sleep 100\n"); time.sleep(1); send(b"\x03"); wait(b"$ ")
send(b"echo S$?\n"); wait(b"S130")
send(b"cat\n"); time.sleep(0.5); send(b"hello\n\x04"); wait(b"hello"); send(b"exit 5\n")
_, status = os.waitpid(pid, 0)
sys.exit(0 if os.waitstatus_to_exitcode(status) == 5 else 1)
S
check "bash: pipes, co-processes, process substitution, traps" guest 120 "$root" /bin/bash /tmp/pipes.sh
check "bash: job control on a pseudo-terminal" guest 120 "$root" /usr/bin/python3 /tmp/jobs.py
