# nginx under wrk: a native wrk on the loopback against nginx in viv with two workers, small and large files, reloads under load, and an orderly end.
# redis has a script of its own; bench/servers has the figures.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "nginx"
native=$(scripts/debian-tree --arch amd64 --packages "libc6 wrk" | tail -n 1)
[ -x "$native/usr/bin/wrk" ] || { echo "skip $0: wrk could not be fetched"; exit 0; }
port=$((20000 + RANDOM % 20000))
mkdir -p "$root/tmp/www"
head -c 612 /dev/zero >"$root/tmp/www/small"
head -c 300000 /dev/urandom >"$root/tmp/www/large"
cat >"$root/tmp/nginx.conf" <<C
user root; worker_processes 2; pid /tmp/nginx.pid; error_log /tmp/error.log; daemon off;
events { worker_connections 512; }
http { access_log off; keepalive_requests 100000; server { listen 127.0.0.1:$port; root /tmp/www; } }
C
start() { # a script starts what is in its background with SIGINT and SIGQUIT ignored; nginx knows SIGQUIT
    env --default-signal=INT,QUIT "$VIV" run --root "$root" --workdir /tmp /usr/sbin/nginx -c /tmp/nginx.conf </dev/null >>"$SCRATCH/nginx.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return; sleep 0.2; done
}
ends() { # ends SIGNAL: its exit status
    kill "-$1" "$server"
    for _ in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$server" 2>/dev/null
    wait "$server"
}
start
trap 'kill $server 2>/dev/null' EXIT
load() { # load SECONDS CONNECTIONS FILE: requests per second; fails on an error of any kind
    "$native/usr/lib64/ld-linux-x86-64.so.2" --library-path "$native/usr/lib/x86_64-linux-gnu" "$native/usr/bin/wrk" -t2 -c"$2" -d"$1s" "http://127.0.0.1:$port/$3" >"$SCRATCH/wrk" 2>&1
    cat "$SCRATCH/wrk"
    grep -q '^Requests/sec' "$SCRATCH/wrk" && ! grep -qE 'Non-2xx|Socket errors' "$SCRATCH/wrk"
}
same() { # what comes out is what lies there
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /large HTTP/1.0\r\n\r\n' >&3
    sed -u '1,/^\r$/d' <&3 | cmp - "$root/tmp/www/large"
}
check "nginx under wrk: 64 connections, a small file" load 5 64 small
check "nginx under wrk: 256 connections, a small file" load 5 256 small
check "nginx under wrk: 32 connections, a large file" load 5 32 large
check "nginx sends the file as it is" same
# Workers come and go; no new connection may notice.
reload() { for i in $(seq 60); do same || return 1; [ $((i % 15)) != 0 ] || kill -HUP $server || return 1; done; }
check "nginx reloads by SIGHUP to viv under load" reload
ends TERM
check "nginx ends by SIGTERM with status 0" test $? = 0
start
ends QUIT
check "nginx ends its connections by SIGQUIT with status 0" test $? = 0
