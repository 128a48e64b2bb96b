# redis-server under viv: redis-benchmark, BGSAVE (fork), AOF rewrite, and the data after a restart.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "redis-server redis-tools"
port=$((20000 + RANDOM % 20000))
cli() { guest 60 "$root" /usr/bin/redis-cli -p $port "$@"; }
start() {
    timeout -k 5 900 "$VIV" run --root "$root" --workdir /tmp /usr/bin/redis-server --port $port --appendonly yes --save '' --dir /tmp --daemonize no \
        </dev/null >"$SCRATCH/server.log" 2>&1 &
    echo $! >"$SCRATCH/pid"
    for _ in $(seq 100); do [ "$(cli ping 2>/dev/null)" = PONG ] && return 0; sleep 0.2; done
    cat "$SCRATCH/server.log" >&2
    return 1
}
stop() { cli shutdown save >/dev/null; for _ in $(seq 100); do kill -0 "$(cat "$SCRATCH/pid")" 2>/dev/null || return 0; sleep 0.2; done; return 1; }
answers() { local want=$1; shift; local got; got=$(cli "$@"); [ "$got" = "$want" ] || { echo "$* answered $got, not $want"; return 1; }; }
saved() { for _ in $(seq 100); do cli info persistence | tr -d '\r' | grep -q "$1:0" && break; sleep 0.2; done; cli info persistence | tr -d '\r' | grep "$2:ok"; }
check "redis starts" start
check "redis-benchmark SET,GET,LPUSH,ZADD" guest 300 "$root" /usr/bin/redis-benchmark -p $port -q -n 20000 -t set,get,lpush,zadd
check "redis keeps a value" answers OK set vivarium terrarium
check "redis BGSAVE starts" answers "Background saving started" bgsave
check "redis BGSAVE ends well" saved rdb_bgsave_in_progress rdb_last_bgsave_status
check "redis BGREWRITEAOF starts" answers "Background append only file rewriting started" bgrewriteaof
check "redis AOF rewrite ends well" saved aof_rewrite_in_progress aof_last_bgrewrite_status
check "redis shuts down" stop
check "redis starts again" start
check "redis has the value back" answers terrarium get vivarium
check "redis shuts down again" stop
