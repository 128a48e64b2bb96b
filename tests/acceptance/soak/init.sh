#!/bin/bash
# The realm's first process in the soak: rounds of lanes that run jobs, then a quiet moment in which the host measures.
# init.sh SECONDS SEED ROUND. Lines to the host: `round N`, `job`, `failed JOB: STATUS`, `hung JOB`, `left N`, `quiet N`, `done`.
seconds=$1 RANDOM=$2 length=$3
end=$((SECONDS + seconds))
cd /tmp || exit 1
exec 2>/dev/null # bash tells of each job that was killed
ulimit -c 0
families=(cpu vm matrix memcpy qsort stream mmap mremap brk stack fork vfork clone exec pthread wait futex mutex sem sem-sysv msg shm shm-sysv mq
    pipe fifo sock udp poll epoll eventfd signal sigq sigsegv sigsuspend sigpending timer timerfd itimer switch yield kill dir dentry flock
    fcntl fstat getdent hdd link rename symlink seek sendfile splice tee utime xattr inotify open close dup atomic membarrier prctl rlimit get
    set sysinfo procfs aio)
python=(threads children pool signals sockets memory files)
shell=(
    'for i in $(seq 100); do x=$(echo $i | tr 0-9 a-j); done; test -n "$x"'
    'seq 300 | xargs -P 4 -n 10 sh -c "exit 0"'
    'd=$(mktemp -d); for i in $(seq 100); do echo $i >$d/$i; done; tar cf - -C $d . | tar tf - | wc -l | grep -qx 101; s=$?; rm -r $d; exit $s'
    'f=$(mktemp -u); mkfifo $f; (seq 5000 >$f) & test $(wc -l <$f) = 5000; s=$?; wait; rm -f $f; exit $s'
    'for i in $(seq 60); do (exit $((i % 8))) & done; wait'
    'n=0; trap "n=\$((n+1))" USR1; for i in $(seq 50); do kill -USR1 $$; done; test $n = 50'
    'for i in 1 2 3; do seq 20000 | sort -R | sort -n | tail -n 1 | grep -qx 20000 || exit 1; done'
    'for i in $(seq 10); do sleep 100 & p=$!; kill -STOP $p; kill -CONT $p; kill $p; wait $p; done; true')

# One job, bounded: 0 done, else its status; a job that needs its limit hangs.
job() { # job MARK NAME COMMAND...
    local mark=$1 name=$2 status start=$SECONDS allowed=$limit
    [ "$mark" = keep ] || allowed=$((limit + 60))
    shift 2
    echo job
    SOAK=$mark timeout -k 5 "$limit" "$@" >"/tmp/job.$BASHPID" 2>&1
    status=$?
    # A job that lost a part to a kill may wait for it for ever, as on any kernel; then it must end when it is told to.
    if [ $((SECONDS - start)) -ge "$allowed" ]; then
        echo "hung $name ($mark)"
    elif [ "$mark" = keep ] && [ $status != 0 ] && [ $status != 3 ] && [ $status != 4 ]; then # 3, 4: stress-ng lacks something here
        echo "failed $name: $status: $(tail -n 3 "/tmp/job.$BASHPID" | tr '\n' ' ' | cut -c1-300)"
    fi
    rm -f "/tmp/job.$BASHPID"
}
pick() { # pick MARK: a job at random
    case $((RANDOM % 3)) in
        0) local f=${families[RANDOM % ${#families[@]}]}
           # Two stressors on one port hear each other, and say so.
           if [ "$f" = udp ]; then set -- "$1" --udp-port $((10000 + RANDOM % 20000)); fi
           job "$1" "stress-ng $f" stress-ng --verify --"$f" 2 "${@:2}" --timeout 5s --temp-path /tmp -q ;;
        1) local p=${python[RANDOM % ${#python[@]}]}
           job "$1" "python $p" python3 /soak/jobs.py "$p" ;;
        2) local n=$((RANDOM % ${#shell[@]}))
           job "$1" "shell $n" bash -c "${shell[n]}" ;;
    esac
}
lane() { RANDOM=$2; while [ $SECONDS -lt "$stop" ]; do pick "$1"; done; }

limit=${SOAK_LIMIT:-120} round=0
while [ $SECONDS -lt $end ]; do
    round=$((round + 1))
    echo "round $round"
    stop=$((SECONDS + length))
    pids=()
    for mark in keep keep kill kill; do lane $mark $RANDOM & pids+=($!); done
    python3 /soak/killer.py $RANDOM & killer=$!
    wait "${pids[@]}"
    kill -KILL $killer; wait $killer 2>/dev/null
    python3 /soak/killer.py sweep || echo "left after $round"
    wait
    rm -rf /tmp/* 2>/dev/null
    ipcrm --all 2>/dev/null
    rm -f /dev/shm/* 2>/dev/null
    sleep 2
    # Whoever was killed may take a while to end on a busy machine; then there is this shell and nobody else, zombies included.
    for _ in $(seq 40); do
        here=(/proc/[0-9]*)
        [ ${#here[@]} -gt 1 ] || break
        sleep 0.5
    done
    for p in "${here[@]}"; do
        [ "$p" = "/proc/$$" ] || echo "left after $round: $(cut -c1-60 "$p/stat")"
    done
    echo "quiet $round ${#here[@]}"
    sleep 3
done
echo done
