#!/usr/bin/env bash
# usage: tests/acceptance/debian.sh IMAGE.toml [OPTION...]
# A Debian disk that `viv image build` made, with systemd: boots it with 4 harts (the disk stays as it is), logs in on the console, fetches a file over http
# through the NAT and compares its checksum, reboots from inside, logs in again and switches off cleanly. OPTIONs go to `viv boot`, such as --bus pci.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
viv=${VIV:-$here/viv}
image=${1:?usage: debian.sh IMAGE.toml [OPTION...]}
shift
base=${image%.toml}
work=$(mktemp -d)
log=$work/log
server='' pid=''
trap '[ -z "$server" ] || kill "$server"; [ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
fail() { echo "debian.sh: FAIL: $1 after $SECONDS s; the end of the log:"; tail -n 25 "$log"; exit 1; }
# await PATTERN COUNT SECONDS: until the pattern has shown COUNT times.
await() {
    for _ in $(seq $(($3 * 5))); do
        [ "$(grep -acE "$1" "$log")" -lt "$2" ] || return 0
        kill -0 "$pid" 2>/dev/null || fail "viv ended before '$1'"
        sleep 0.2
    done
    fail "no '$1'"
}
# login COUNT: as root, without a password; the shell answers for the COUNTth time.
login() {
    echo root >&7
    await 'ABSOLUTELY NO WARRANTY' "$1" 120
    echo 'echo here $((40 + 2))' >&7
    await 'here 42' "$1" 60
}
mkdir "$work/www"; head -c 8000000 /dev/urandom >"$work/www/data"
sum=$(sha256sum <"$work/www/data" | cut -d' ' -f1)
python3 - "$work" <<'PY' &
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1] + "/www")
server = http.server.HTTPServer(("127.0.0.1", 0), handler)
open(sys.argv[1] + "/port", "w").write(str(server.server_port))
sys.stderr = open("/dev/null", "w")
server.serve_forever()
PY
server=$!
for _ in $(seq 50); do [ -s "$work/port" ] && break; sleep 0.1; done
mkfifo "$work/typed"
exec 7<>"$work/typed"
"$viv" --version >/dev/null
VIV_NO_BUILD=1 "$viv" boot --kernel "$base.vmlinuz" --initrd "$base.initrd" --append "console=ttyS0 root=/dev/vda rw" --disk "$base.img,temporary" \
    --cpus 4 --memory 1G --net user "$@" <"$work/typed" >"$log" 2>&1 &
pid=$!
await 'login: ' 1 400; first=$SECONDS
login 1
echo "echo cpus \$(nproc); /usr/lib/apt/apt-helper download-file http://10.0.2.2:$(cat "$work/port")/data /tmp/data; sha256sum </tmp/data" >&7
await "$sum" 1 200
await 'cpus 4' 1 1
echo reboot >&7
await 'reboot: Restarting system' 1 200
await 'login: ' 2 400
login 2
echo poweroff >&7
await 'reboot: Power down' 1 200
wait "$pid"; status=$?; pid=
[ "$status" = 0 ] || fail "status $status"
grep -aqE 'EXT4-fs error|Failed to start|FAILED' "$log" && fail "an error inside"
echo "debian.sh: login after $first s, http, reboot and poweroff: ok after $SECONDS s"
