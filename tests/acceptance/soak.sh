# A soak: for VIV_SOAK_MINUTES (30) four lanes of stress-ng, python and shell jobs in one realm, two of them with kills at random. No job may fail or
# hang, the host process may not crash, and what viv holds at quiet moments (memory, descriptors, mappings, threads) must level off.
. tests/acceptance/lib.sh
root=$SCRATCH/root
minutes=${VIV_SOAK_MINUTES:-30} round=${VIV_SOAK_ROUND:-60} seed=${VIV_SOAK_SEED:-$RANDOM} log=${VIV_SOAK_LOG:-$SCRATCH/soak.tsv}
fresh_tree "$root" "stress-ng python3-minimal python3 tar procps util-linux"
mkdir -p "$root/soak"
cp tests/acceptance/soak/* "$root/soak/"
echo "soak: seed $seed, $minutes minutes" >&2
mkfifo "$SCRATCH/lines"
"$VIV" run --root "$root" --workdir /tmp --env HOME=/root --env PATH=/usr/bin:/usr/sbin --env LANG=C.UTF-8 \
    /bin/bash /soak/init.sh $((minutes * 60)) "$seed" "$round" </dev/null >"$SCRATCH/lines" 2>"$SCRATCH/viv.err" &
viv=$!
trap 'kill -KILL $viv 2>/dev/null' EXIT
printf 'seconds\tround\trss_kib\tshmem_kib\tdescriptors\tmappings\tthreads\tprocesses\n' >"$log"
# VIV_SOAK_SMAPS=DIR keeps there what makes up the memory at each quiet moment, and what the descriptors are.
value() { awk -v k="$1:" '$1 == k { print $2 }' /proc/$viv/status; }
measure() { # measure ROUND PROCESSES
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' $SECONDS "$1" "$(value VmRSS)" "$(value RssShmem)" "$(ls /proc/$viv/fd | wc -l)" "$(wc -l </proc/$viv/maps)" \
        "$(value Threads)" "$2" >>"$log"
    [ -z "${VIV_SOAK_SMAPS:-}" ] || { cat /proc/$viv/smaps >"$VIV_SOAK_SMAPS/$1.smaps"; ls -l /proc/$viv/fd >"$VIV_SOAK_SMAPS/$1.fds"; }
}
jobs=0 bad=0 last=silent
# Nothing for so long is a hang of the whole realm: jobs end after 120 s.
while IFS= read -r -t 400 line; do
    case $line in
        job) jobs=$((jobs + 1)) ;;
        quiet*) read -r _ n left <<<"$line"; measure "$n" "$left" ;;
        failed*|hung*|left*) bad=$((bad + 1)); echo "FAIL soak: $line" ;;
        done) last=done ;;
    esac
done <"$SCRATCH/lines"
if [ $last = done ]; then
    wait $viv; status=$?
    if [ $status = 0 ]; then echo "ok soak: $jobs jobs in $minutes minutes, the host process ended well"; else echo "FAIL soak: viv ended with status $status"; fi
elif kill -0 $viv 2>/dev/null; then
    echo "FAIL soak: the realm hangs after $jobs jobs"
    for task in /proc/$viv/task/*; do echo "$(cat "$task/comm") $(cat "$task/wchan" 2>/dev/null) $(cat "$task/syscall" 2>/dev/null)"; done | sort | uniq -c | sort -rn | head -40 >&2
else
    wait $viv; echo "FAIL soak: viv died with status $? after $jobs jobs: $(tail -n 1 "$SCRATCH/viv.err")"
fi
tail -n 20 "$SCRATCH/viv.err" >&2
[ $bad != 0 ] || echo "ok soak: no job failed or hung"
# Level: the mean of the last third is at most a tenth over the middle third's, plus what a few pooled threads or blocks of translations weigh.
# At a quiet moment there is the first process alone; nothing of the jobs is left, so their descriptors are closed.
awk -F'\t' 'NR > 1 { if ($5 > d) d = $5; if ($8 > p) p = $8 }
    END { printf "%s soak: at most %d descriptors and %d processes at quiet moments\n", (d <= 64 && p <= 1) ? "ok" : "FAIL", d, p }' "$log"
for column in 3:rss:16384 4:shmem:16384 5:descriptors:8 6:mappings:200 7:threads:16; do
    IFS=: read -r c name slack <<<"$column"
    awk -F'\t' -v c="$c" -v name="$name" -v slack="$slack" 'NR > 1 { v[++n] = $c }
        END { if (n < 6) { print "FAIL soak: only " n " quiet moments"; exit }
              for (i = 1; i <= n; i++) if (i > n - int(n / 3)) { b += v[i]; nb++ } else if (i > int(n / 3)) { a += v[i]; na++ }
              a /= na; b /= nb
              printf "%s soak: %s levels off: %d in the middle third, %d in the last\n", b <= a * 1.1 + slack ? "ok" : "FAIL", name, a, b }' "$log"
done
cat "$log" >&2
